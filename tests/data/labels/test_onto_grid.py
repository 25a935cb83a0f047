from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.study import VolumeSettings, read_study
from spine_models.data.labels.grids import EXACT_VOXELS, grid_difference
from spine_models.data.labels.nifti import LabelMap, LabelSettings, read_label
from spine_models.data.labels.onto_grid import half_label, onto_grid
from spine_models.data.volume_facts import VolumeFacts
from tests.data.dicom_builder import ramp, write_stack

SHAPE = (6, 8, 10)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def facts(tmp_path):
    """Facts of a study of 6 slices of 8 x 10 pixels, 2 mm apart, half size 5."""
    return study_facts(tmp_path / "study", z_step=1)


def study_facts(folder: Path, z_step: int, **tags) -> VolumeFacts:
    write_stack(folder, step=(0, 0, -2), pixels=lambda i: ramp(i, SHAPE[1:]), PixelSpacing=[0.5, 0.75], **tags)
    return read_study(folder, VolumeSettings(z_step, half_size=5)).facts


def marks(seed: int = 3) -> np.ndarray:
    """Labels on the full grid (z, y, x) without any symmetry."""
    return np.random.default_rng(seed).integers(0, 20, SHAPE).astype(np.int16)


def stored(values: np.ndarray, affine: np.ndarray, axes: tuple[int, ...], flips: tuple[bool, ...]) -> tuple:
    """Store labels given on (z, y, x) with any order and direction of axes: the array and its RAS affine."""
    turned = np.transpose(values, axes)
    permutation = np.zeros((4, 4))
    permutation[3, 3] = 1
    for new, old in enumerate(axes):
        permutation[old, new] = -1 if flips[new] else 1
        permutation[old, 3] = values.shape[old] - 1 if flips[new] else 0
    turned = turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    return turned, LPS_TO_RAS @ affine @ permutation


def write(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_any_axis_order_and_direction_is_permuted_exactly(tmp_path, facts, axes, flips) -> None:
    values = marks()
    affine = np.array(facts.affine_lps)
    label = read_label(write(tmp_path / "a.nii", *stored(values, affine, axes, flips)), LabelSettings())
    sampled = onto_grid(label, affine, SHAPE)
    assert sampled.inside.all()
    assert np.array_equal(sampled.values, values)
    assert grid_difference(label.affine_lps, affine, SHAPE) < EXACT_VOXELS
    half, found = half_label(label, facts, LabelSettings())
    expected = values[:, ::2, ::2]
    assert np.array_equal(half[:, :4], np.where(expected > 7, 0, expected))
    assert (half[:, 4:] == 255).all(), "the half grid's padding is not background"
    assert found.notes == ()
    assert found.levels["C3"] == int((expected == 3).sum())


def test_labels_follow_a_canonicalised_volume(tmp_path) -> None:
    """Stored with rows and columns negated and from the feet up: labels and pixels still meet."""
    facts = study_facts(tmp_path / "study", 2, ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])
    values = marks()
    unstepped = np.array(facts.affine_lps) @ np.diag([0.5, 1, 1, 1])
    label = read_label(
        write(tmp_path / "a.nii", *stored(values, unstepped, (2, 1, 0), (True, False, True))), LabelSettings()
    )
    half, _ = half_label(label, facts, LabelSettings())
    assert np.array_equal(half[:, :4], np.where(values > 7, 0, values)[::2, ::2, ::2])


def test_tilted_volumes_are_met_by_sheared_affines(tmp_path) -> None:
    facts = study_facts(tmp_path / "study", 1, ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6])
    values = marks()
    affine = np.array(facts.affine_lps)
    label = read_label(
        write(tmp_path / "a.nii", *stored(values, affine, (2, 0, 1), (False, True, True))), LabelSettings()
    )
    assert np.array_equal(onto_grid(label, affine, SHAPE).values, values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_storage_of_whole_numbers(tmp_path, facts, dtype, suffix) -> None:
    affine = np.array(facts.affine_lps)
    values, ras = stored(marks().astype(dtype), affine, (2, 1, 0), (False, False, False))
    label = read_label(write(tmp_path / f"a{suffix}", values, ras), LabelSettings())
    assert np.array_equal(onto_grid(label, affine, SHAPE).values, marks())


def test_scaled_storage_and_a_fourth_axis_of_one(tmp_path, facts) -> None:
    affine = np.array(facts.affine_lps)
    values, ras = stored(marks(), affine, (2, 1, 0), (False, False, False))
    image = nib.Nifti1Image((values * 2)[..., None], ras)
    image.header.set_slope_inter(0.5, 0)
    nib.save(image, tmp_path / "a.nii")
    assert np.array_equal(onto_grid(read_label(tmp_path / "a.nii", LabelSettings()), affine, SHAPE).values, marks())


@pytest.mark.parametrize("value", [0.5, -1, np.nan, np.inf, 40000])
def test_values_that_are_no_labels_are_refused(tmp_path, value) -> None:
    values = np.zeros((3, 3, 3), np.float32)
    values[1, 1, 1] = value
    assert refusal(write(tmp_path / "a.nii", values, np.eye(4))) == RefusalCode.LABEL_INVALID


def refusal(path: Path) -> RefusalCode:
    with pytest.raises(StudyRefused) as caught:
        read_label(path, LabelSettings())
    return caught.value.code


def test_damaged_label_maps_are_refused(tmp_path) -> None:
    (tmp_path / "junk.nii").write_bytes(b"junk" * 200)
    assert refusal(tmp_path / "junk.nii") == RefusalCode.LABEL_DAMAGED
    for name in ("cut.nii", "cut.nii.gz"):
        path = write(tmp_path / name, np.random.default_rng(0).integers(0, 9, (20, 20, 20), np.uint8), np.eye(4))
        path.write_bytes(path.read_bytes()[:-1000])
        assert refusal(path) == RefusalCode.LABEL_DAMAGED
    assert refusal(write(tmp_path / "4d.nii", np.zeros((3, 3, 3, 2), np.uint8), np.eye(4))) == RefusalCode.LABEL_INVALID
    assert refusal(write(tmp_path / "2d.nii", np.zeros((3, 3), np.uint8), np.eye(4))) == RefusalCode.LABEL_INVALID


def test_an_affine_that_cannot_be_inverted_is_refused(tmp_path) -> None:
    path = write(tmp_path / "a.nii", np.zeros((3, 3, 3), np.uint8), np.eye(4))
    data = bytearray(path.read_bytes())
    data[280:296] = bytes(16)  # first row of the sform
    path.write_bytes(data)
    assert refusal(path) == RefusalCode.LABEL_GEOMETRY


def test_a_grid_slightly_off_is_sampled_and_noted(facts) -> None:
    affine = np.array(facts.affine_lps)
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ [0.3, 0.2, -0.3]
    half, found = half_label(LabelMap(marks(), shifted), facts, LabelSettings())
    # A half pixel is centred at 0.5 of the full grid: 0.3 of the label's along y, 0.8 along x.
    assert np.array_equal(half[:, :4], np.where(marks() > 7, 0, marks())[:, ::2, 1::2])
    assert found.notes == ("the label's grid is not the volume's: nearest neighbour",)


def test_a_coarser_rotated_label_is_sampled_point_by_point(facts) -> None:
    """Against the definition: the nearest label voxel of each voxel, one at a time."""
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.array(facts.affine_lps)
    label = LabelMap(marks()[:, :5, :6], turn @ affine @ np.diag([1.3, 1.7, 1.9, 1]))
    sampled = onto_grid(label, affine, SHAPE)
    inverse = np.linalg.inv(label.affine_lps)
    for index in itertools.product(*map(range, SHAPE)):
        at = np.rint(inverse @ affine @ [index[0], index[1] - 1e-3, index[2] - 1e-3, 1])[:3].astype(int)
        inside = all(0 <= a < n for a, n in zip(at, label.values.shape, strict=True))
        assert sampled.inside[index] == inside
        assert sampled.values[index] == (label.values[tuple(at)] if inside else 0)


def test_voxels_that_the_label_map_does_not_cover_are_ignored(facts) -> None:
    affine = np.array(facts.affine_lps)
    half, found = half_label(LabelMap(marks()[:4], affine), facts, LabelSettings())
    assert (half[4:] == 255).all()
    assert (half[:4, :4] != 255).all()
    assert found.notes == ("33.3 % of the volume lie outside the label map: ignored",)


def test_no_overlap_is_refused_and_both_geometries_are_named(facts) -> None:
    affine = np.array(facts.affine_lps)
    affine[:3, 3] += 1000
    with pytest.raises(StudyRefused) as caught:
        half_label(LabelMap(marks(), affine), facts, LabelSettings())
    assert caught.value.code == RefusalCode.LABEL_GEOMETRY
    assert "x 990.0 to 996.8" in caught.value.reason
    assert "x -10.0 to -3.2" in caught.value.reason


def test_index_geometry_takes_columns_rows_and_slices_as_converters_store_them(tmp_path) -> None:
    """Column i, row counted from the back, slice counted from the feet; the affine is not looked at."""
    facts = study_facts(tmp_path / "study", 2)
    values = marks()
    broken = LabelMap(values[::-1, ::-1].transpose(2, 1, 0), np.diag([9.0, 9, 9, 1]))
    half, _ = half_label(broken, facts, LabelSettings("index"))
    assert np.array_equal(half[:, :4], np.where(values > 7, 0, values)[::2, ::2, ::2])


def test_index_geometry_with_another_size_is_refused(facts) -> None:
    with pytest.raises(StudyRefused) as caught:
        half_label(LabelMap(marks(), np.eye(4)), facts, LabelSettings("index"))
    assert caught.value.code == RefusalCode.LABEL_GEOMETRY
    assert "10 columns, 8 rows and 6 slices" in caught.value.reason


def test_a_label_map_without_cervical_levels_is_refused(facts) -> None:
    label = LabelMap(np.full(SHAPE, 9, np.int16), np.array(facts.affine_lps))
    with pytest.raises(StudyRefused) as caught:
        half_label(label, facts, LabelSettings())
    assert caught.value.code == RefusalCode.LABEL_INVALID
    assert "no voxel of C1 to C7" in caught.value.reason
