from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spine_models.data.phantom import rendering
from spine_models.data.phantom.anatomy import ALL_LEVELS, Patient, draw_patient
from spine_models.data.phantom.canvas import Grid
from spine_models.data.phantom.fractures import Break, Fracture, draw_break
from spine_models.data.phantom.rendering import Rendered, marker_position, render
from spine_models.data.phantom.settings import GRADES, GradesSettings
from spine_models.levels import LEVELS


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(np.random.default_rng(11))


def grid_around(patient: Patient, top: str, bottom: str, *, pixel: float, step: float, matrix: int) -> Grid:
    centre = patient.frames["C4"].world((0.0, 9.0, 0.0))
    first = float(patient.frames[top].origin[2]) + 20
    last = float(patient.frames[bottom].origin[2]) - 20
    corner = (float(centre[0]) - pixel * (matrix - 1) / 2, float(centre[1]) - pixel * (matrix - 1) / 2)
    return Grid((int((first - last) / step) + 1, matrix, matrix), (step, pixel, pixel), (*corner, first))


def draw(patient: Patient, grid: Grid, breaks: dict[str, Break] | None = None, marker: bool = True) -> Rendered:
    return render(patient, grid, breaks or {}, noise_hu=0.0, seed=[1], marker=marker)


@pytest.fixture(scope="module")
def whole(patient: Patient) -> Rendered:
    return draw(patient, grid_around(patient, "C1", "T1", pixel=1.2, step=1.25, matrix=126))


def hu_at(rendered: Rendered, world: np.ndarray) -> int:
    place = tuple(round(value) for value in rendered.grid.index_of(world))
    return int(rendered.hu[place])


def test_every_level_has_its_label_at_its_body(patient: Patient, whole: Rendered) -> None:
    for level in ALL_LEVELS[1:8]:
        place = tuple(round(value) for value in whole.grid.index_of(patient.frames[level].origin))
        assert whole.labels[place] == ALL_LEVELS.index(level) + 1
    ring = patient.frames["C1"].world((17.0 * patient.scale, 2.5, 0.0))
    assert whole.labels[tuple(round(value) for value in whole.grid.index_of(ring))] == 1


def test_levels_follow_each_other_and_have_the_size_of_vertebrae() -> None:
    extents = []
    for seed in range(3):
        patient = draw_patient(np.random.default_rng(seed))
        labels = draw(patient, grid_around(patient, "C1", "T1", pixel=1.5, step=1.5, matrix=100)).labels
        heights = [np.flatnonzero((labels == number).any(axis=(1, 2))) for number in range(1, 8)]
        middles = [float(rows.mean()) for rows in heights]
        assert middles == sorted(middles)
        extents.append([len(rows) * 1.5 for rows in heights])
    # Medians over the challenge's segmentations, C1 to C7, spinous processes included (mm).
    assert np.median(extents, axis=0) == pytest.approx([27.5, 43.8, 27.5, 27.6, 28.8, 29.0, 32.5], rel=0.35)


def test_tissues_have_their_attenuation(patient: Patient, whole: Rendered) -> None:
    body = patient.frames["C5"].world((0.0, 0.0, 0.0))
    assert hu_at(whole, body) == pytest.approx(patient.bone_hu[0], abs=120)
    assert hu_at(whole, patient.frames["C5"].world((0.0, 13.5 * patient.scale, 0.0))) == pytest.approx(44, abs=25)
    assert hu_at(whole, patient.frames["T1"].world((0.0, -35.0 * patient.scale, 0.0))) < -900
    assert whole.hu[-1, 0, 0] == -1000 or whole.hu[0, 0, 0] == -1000


def test_levels_never_touch_and_joints_show(whole: Rendered) -> None:
    for number in range(2, 8):
        upper, lower = whole.labels == number, whole.labels == number + 1
        touching = sum(
            int((np.take(upper, range(size - 1), axis) & np.take(lower, range(1, size), axis)).sum())
            for axis, size in enumerate(upper.shape)
        )
        assert touching < 0.03 * upper.sum()


def test_marker_is_left_in_front_and_at_c3(patient: Patient, whole: Rendered) -> None:
    z, y, x = (float(values.mean()) for values in np.nonzero(whole.hu > 1800))
    assert np.allclose((z, y, x), whole.grid.index_of(marker_position(patient)), atol=1.0)
    _, body_y, body_x = whole.grid.index_of(patient.frames["C3"].origin)
    assert x > body_x + 20
    assert y < body_y - 15
    without = draw(patient, whole.grid, marker=False)
    assert (without.hu > 1800).sum() == 0


def test_slabs_leave_no_trace(patient: Patient, whole: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_SLAB_VOXELS", 5 * 126 * 126)
    again = draw(patient, whole.grid)
    assert np.array_equal(again.hu, whole.hu)
    assert np.array_equal(again.labels, whole.labels)


def test_volumes_of_the_levels_do_not_depend_on_the_matrix(patient: Patient, whole: Rendered) -> None:
    fine = draw(patient, grid_around(patient, "C4", "C5", pixel=0.6, step=1.25, matrix=252))
    voxel = (1.2 * 1.2 * 1.25, 0.6 * 0.6 * 1.25)
    for level in ("C4", "C5"):
        number = LEVELS.index(level) + 1
        coarse_mm3, fine_mm3 = (whole.labels == number).sum() * voxel[0], (fine.labels == number).sum() * voxel[1]
        assert coarse_mm3 == pytest.approx(fine_mm3, rel=0.05)


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("kind", ["body_sagittal", "body_coronal", "body_transverse"])
def test_fractures_are_as_dark_and_as_wide_as_their_grade_says(patient: Patient, grade: str, kind: str) -> None:
    settings = GradesSettings().of(grade)
    rng = np.random.default_rng(2)
    broken = draw_break(rng, Fracture("C5", grade, kind), patient.sizes["C5"], settings)
    still = replace(broken, shift=(0.0, 0.0, 0.0))
    grid = grid_around(patient, "C5", "C5", pixel=0.5, step=0.6, matrix=72)
    sound = draw(patient, grid, marker=False)
    cracked = draw(patient, grid, {"C5": still}, marker=False)
    frame = patient.frames["C5"]
    line = [frame.world(tuple(np.array(broken.through) + s * np.array(broken.normal))) for s in np.arange(-6, 6, 0.1)]
    loss = np.array([hu_at(sound, place) - hu_at(cracked, place) for place in line], float)
    floor = min(settings.contrast_hu, hu_at(sound, line[60]) + 500)
    assert loss.max() == pytest.approx(floor, abs=40)
    assert (loss > floor / 2).sum() * 0.1 == pytest.approx(settings.width_mm, abs=0.5)
    assert set(np.unique(cracked.labels)) == set(np.unique(sound.labels))


def test_displacement_moves_only_the_fragment(patient: Patient) -> None:
    broken = draw_break(
        np.random.default_rng(2),
        Fracture("C5", "obvious", "body_coronal"),
        patient.sizes["C5"],
        GradesSettings().obvious,
    )
    assert np.linalg.norm(broken.shift) == pytest.approx(4.0)
    assert np.dot(broken.shift, broken.normal) == pytest.approx(0.0, abs=1e-9)
    grid = grid_around(patient, "C5", "C5", pixel=0.8, step=0.8, matrix=90)
    sound, cracked = draw(patient, grid), draw(patient, grid, {"C5": broken})
    changed = np.argwhere(sound.labels != cracked.labels)
    world = np.array(grid.first) + changed[:, ::-1] * np.array([0.8, 0.8, -0.8])
    frame = patient.frames["C5"]
    along = ((world - frame.origin) @ frame.axes - np.array(broken.through)) @ np.array(broken.normal)
    assert len(changed) > 200
    assert along.min() > -1.0


def test_boxes_enclose_the_lucent_line(patient: Patient) -> None:
    settings = GradesSettings().obvious
    broken = draw_break(
        np.random.default_rng(4), Fracture("C4", "obvious", "body_sagittal"), patient.sizes["C4"], settings
    )
    grid = grid_around(patient, "C4", "C4", pixel=0.8, step=1.0, matrix=110)
    cracked = draw(patient, grid, {"C4": broken})
    z, y, x = grid.index_of(patient.frames["C4"].world(broken.through))
    x0, y0, x1, y1 = cracked.boxes[round(z)]
    assert x0 <= x <= x1
    assert y0 <= y <= y1
    assert 4.0 / 0.8 - 2 < x1 - x0 < 25
