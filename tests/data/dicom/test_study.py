"""Studies written to disk come back in their place: every behaviour of docs/ingest.md."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom import pixels
from spine_models.data.dicom.patients import patient_group
from spine_models.data.dicom.study import StudyVolume, VolumeSettings, open_study, read_study
from spine_models.provenance.canonical import canonical_json
from tests.data.dicom_builder import (
    NINE_LOSSLESS,
    STUDY,
    encoded,
    enhanced,
    make_slice,
    ramp,
    write_stack,
)

EVERY = VolumeSettings(z_step=1, half_size=4)
SECOND = VolumeSettings(z_step=2, half_size=4)


def read(folder: Path, settings: VolumeSettings = EVERY) -> StudyVolume:
    return read_study(folder, settings)


def refused(folder: Path, settings: VolumeSettings = EVERY) -> StudyRefused:
    with pytest.raises(StudyRefused) as caught:
        read(folder, settings)
    return caught.value


def notes(study: StudyVolume) -> str:
    return " | ".join(study.facts.notes)


def point(x: float, y: float, z: float) -> int:
    """HU that tell a position in whole mm from all others within +-15 mm."""
    return round(x + 15) + 31 * round(y + 15) + 961 * round(z + 15) - 14_000


def placed_stack(
    folder: Path, orientation, start, step, count=5, shape=(4, 6), spacing=(2.0, 1.0), **tags: Any
) -> None:
    """Slices whose pixels tell their own position in the patient."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])

    def positioned(index: int) -> np.ndarray:
        origin = np.array(start) + index * np.array(step)
        rows, columns = np.indices(shape)
        where = origin + rows[..., None] * spacing[0] * column + columns[..., None] * spacing[1] * row
        return np.array([point(*p) for p in where.reshape(-1, 3)], dtype="<i2").reshape(shape)

    write_stack(
        folder, count, step, start, pixels=positioned,
        ImageOrientationPatient=list(orientation), PixelSpacing=list(spacing), **tags,
    )  # fmt: skip


def assert_exact(study: StudyVolume) -> None:
    """Every voxel's HU tell the position that the affine gives it."""
    affine = np.array(study.facts.affine_lps)
    for index in itertools.product(*(range(size) for size in study.full.shape)):
        assert study.full[index] == point(*(affine @ [*index, 1])[:3])
    assert affine[2, 0] < 0, "z runs towards the feet"
    assert affine[1, 1] > 0, "y runs towards the back"
    assert affine[0, 2] > 0, "x runs towards the patient's left"


IN_PLANE = [
    (row_sign, column_sign, swapped) for row_sign in (1, -1) for column_sign in (1, -1) for swapped in (False, True)
]


@pytest.mark.parametrize(("row_sign", "column_sign", "swapped"), IN_PLANE)
@pytest.mark.parametrize("z_step", [-3.0, 3.0])
def test_any_axial_orientation_becomes_the_same_axes(tmp_path, row_sign, column_sign, swapped, z_step) -> None:
    x, y = [row_sign, 0, 0], [0, column_sign, 0]
    placed_stack(tmp_path, [*(y if swapped else x), *(x if swapped else y)], (1, 2, 3), (0, 0, z_step), count=4)
    study = read(tmp_path)
    assert_exact(study)
    assert study.full.shape == ((4, 6, 4) if swapped else (4, 4, 6))
    assert study.facts.spacing_mm == pytest.approx([3, 1, 2] if swapped else [3, 2, 1])


@pytest.mark.parametrize("tilt", [3.0, -3.0])
def test_gantry_tilt_stays_in_the_affine(tmp_path, tilt) -> None:
    """3-4-5 triangle: slices tilted about x, positions moving along z alone, so the volume is sheared."""
    column = (0.0, 0.8, 0.6 * np.sign(tilt))
    placed_stack(tmp_path, [1, 0, 0, *column], (0, -5, 0), (0, 0, -2), spacing=(5.0, 1.0), shape=(3, 4))
    study = read(tmp_path)
    assert_exact(study)
    degrees = np.degrees(np.arcsin(0.6))
    assert study.facts.tilt_degrees == pytest.approx(-degrees * np.sign(tilt))
    assert study.facts.spacing_mm == pytest.approx([1.6, 5, 1])
    assert "gantry tilt" in notes(study)


def test_oblique_reformat_is_read_without_shear(tmp_path) -> None:
    placed_stack(tmp_path, [1, 0, 0, 0, 0.8, 0.6], (0, -5, 0), (0, -3, 4), count=3, spacing=(5.0, 1.0), shape=(3, 4))
    study = read(tmp_path)
    assert_exact(study)
    assert study.facts.tilt_degrees == 0
    assert study.facts.oblique_degrees == pytest.approx(np.degrees(np.arcsin(0.6)))


def test_order_is_that_of_positions_whatever_names_and_numbers_say(tmp_path) -> None:
    order = [3, 0, 5, 1, 4, 2]
    write_stack(tmp_path, name=lambda i: f"I{order[i]}0", instance=lambda i: 9 - order[i])
    assert read(tmp_path).full[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]


def test_a_series_stored_from_the_feet_up_is_turned(tmp_path) -> None:
    write_stack(tmp_path, step=(0, 0, 1.0))
    assert read(tmp_path).full[:, 0, 0].tolist() == [500, 400, 300, 200, 100, 0]


def test_z_step_keeps_the_first_slice_and_never_decodes_dropped_ones(tmp_path, monkeypatch) -> None:
    write_stack(tmp_path)
    seen = []
    original = pixels.read_range
    monkeypatch.setattr(pixels, "read_range", lambda path, *rest: seen.append(path.name) or original(path, *rest))
    study = read(tmp_path, SECOND)
    assert study.full[:, 0, 0].tolist() == [0, 200, 400]
    assert seen == ["0.dcm", "2.dcm", "4.dcm"]
    assert study.facts.spacing_mm == pytest.approx([2, 0.5, 0.5])
    assert np.array(study.facts.affine_lps)[:, 0].tolist() == [0, 0, -2, 0]
    assert (study.facts.slices, study.facts.z_step) == (6, 2)


def test_a_file_that_is_cut_off_is_seen_even_where_its_slice_is_dropped(tmp_path) -> None:
    write_stack(tmp_path)
    path = tmp_path / "1.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    assert refused(tmp_path, SECOND).code == RefusalCode.PIXELS_DAMAGED
    assert refused(tmp_path).code == RefusalCode.PIXELS_DAMAGED


def test_equal_pixels_at_the_same_positions_are_left_out(tmp_path) -> None:
    write_stack(tmp_path)
    for index in (1, 4):
        shutil.copy(tmp_path / f"{index}.dcm", tmp_path / f"copy of {index}.dcm")
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]
    assert "2 repeated slices with equal pixels left out" in notes(study)


@pytest.mark.parametrize("interleaved", [True, False])
def test_two_passes_of_different_pixels_are_never_mixed(tmp_path, interleaved) -> None:
    """As in the challenge's study 20756: each position twice, in one series, without anything that tells them apart."""
    number = (lambda i: 2 * i + 1) if interleaved else (lambda i: i + 1)
    other = (lambda i: 2 * i + 2) if interleaved else (lambda i: i + 7)
    write_stack(tmp_path, instance=number)
    write_stack(tmp_path, instance=other, pixels=lambda i: ramp(i) + 7000, name="second {}.dcm".format)
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]
    assert "6 slices of another pass" in notes(study)


def test_passes_are_told_apart_by_acquisition_number(tmp_path) -> None:
    """Instance numbers run crosswise here: taken by number alone the passes would mix."""
    write_stack(tmp_path, instance=lambda i: 2 * i + 1 + i % 2, AcquisitionNumber=2)
    write_stack(
        tmp_path,
        instance=lambda i: 2 * i + 2 - i % 2,
        AcquisitionNumber=1,
        pixels=lambda i: ramp(i) + 7000,
        name="b{}".format,
    )  # fmt: skip
    values = read(tmp_path).full[:, 0, 0]
    assert set(np.diff(values)) == {100}


SCATTERED = [7, 2, 9, 4, 11, 0, 5, 10, 1, 8, 3, 6]


@pytest.mark.parametrize(
    "tell", [{"TemporalPositionIdentifier": (2, 1)}, {"KVP": (80, 140)}, {"ConvolutionKernel": ("B30", "B70")},
             {"ImageType": (["ORIGINAL", "A"], ["ORIGINAL", "B"])}, {"SOPInstanceUID": (1, 2)}]
)  # fmt: skip
def test_passes_with_the_same_instance_numbers_are_told_apart_by_any_other_number(tmp_path, tell) -> None:
    """Names are scattered, so that an order by name would mix the passes."""
    ((keyword, values),) = tell.items()
    for number, value in enumerate(values):
        own = (lambda i, v=value: f"1.2.{v}.{i + 1}") if keyword == "SOPInstanceUID" else value
        write_stack(
            tmp_path, pixels=lambda i, n=number: ramp(i) + 7000 * n, **{keyword: own},
            name=lambda i, n=number: f"{SCATTERED[6 * n + i]}.dcm",
        )  # fmt: skip
    assert set(np.diff(read(tmp_path).full[:, 0, 0])) == {100}
    assert "6 slices of another pass" in notes(read(tmp_path))


def scattered_copies(folder: Path, offset: int) -> None:
    for number in (0, 1):
        write_stack(
            folder, pixels=lambda i, n=number: ramp(i) + offset * n, SOPInstanceUID="1.2.3",
            name=lambda i, n=number: f"{SCATTERED[6 * n + i]}.dcm",
        )  # fmt: skip


def test_passes_that_nothing_tells_apart_are_refused_and_copies_are_not(tmp_path) -> None:
    scattered_copies(tmp_path / "passes", 7000)
    assert refused(tmp_path / "passes").code == RefusalCode.SERIES_AMBIGUOUS
    scattered_copies(tmp_path / "copies", 0)
    assert read(tmp_path / "copies").full[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]
    assert "6 repeated slices with equal pixels left out" in notes(read(tmp_path / "copies"))


def test_interleaved_passes_at_shifted_positions(tmp_path) -> None:
    write_stack(tmp_path, instance=lambda i: i + 1)
    write_stack(
        tmp_path, start=(-10, -20, 99.7), instance=lambda i: i + 7, pixels=lambda i: ramp(i) + 7000, name="b{}".format
    )  # fmt: skip
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]
    assert "6 files left out: another pass, told apart by the order of instance numbers" in notes(study)


def test_step_and_shoot_numbers_do_not_split_a_regular_stack(tmp_path) -> None:
    write_stack(tmp_path, count=8, AcquisitionNumber=lambda i: i // 2)
    assert read(tmp_path).full.shape[0] == 8


def test_one_missing_slice_is_interpolated_and_noted(tmp_path) -> None:
    write_stack(tmp_path)
    (tmp_path / "3.dcm").unlink()
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]
    assert "1 planes without a slice of their own interpolated" in notes(study)


def test_a_slice_with_a_damaged_position_counts_as_missing(tmp_path) -> None:
    write_stack(tmp_path, ImagePositionPatient=lambda i: [-10, -20, 100 - i] if i != 2 else [1, 2])
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]
    assert "1 files left out: no usable position or spacing" in notes(study)


def test_one_slice_beside_the_others_counts_as_missing(tmp_path) -> None:
    write_stack(tmp_path, count=12, ImagePositionPatient=lambda i: [-10 - 4 * (i == 5), -20, 100 - i])
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [100 * i for i in range(12)]
    assert np.array(study.facts.affine_lps)[0].tolist() == pytest.approx([0, 0, 0.5, -10])
    assert "1 slices left out: they lie beside the line" in notes(study)


def test_the_last_slice_beside_the_others(tmp_path) -> None:
    write_stack(tmp_path, count=12, ImagePositionPatient=lambda i: [-10 - 4 * (i == 11), -20, 100 - i])
    assert read(tmp_path).full.shape[0] == 11


def test_a_stack_that_jumps_sideways_is_refused(tmp_path) -> None:
    write_stack(tmp_path, count=12, ImagePositionPatient=lambda i: [-10 - 4 * (i % 3 == 1), -20, 100 - i])
    assert refused(tmp_path).code == RefusalCode.GEOMETRY_INVALID


def test_a_wide_gap_is_refused(tmp_path) -> None:
    write_stack(tmp_path, count=20)
    for index in range(8, 13):
        (tmp_path / f"{index}.dcm").unlink()
    refusal = refused(tmp_path)
    assert refusal.code == RefusalCode.SLICES_MISSING
    assert "6.0 mm" in refusal.reason


def test_irregular_steps_are_interpolated_onto_the_median_step(tmp_path) -> None:
    depths = [0, 1, 2, 3, 4, 5, 6.5, 8, 9.3, 10]
    write_stack(
        tmp_path, count=len(depths), step=(0, 0, 0), ImagePositionPatient=lambda i: [0, 0, 50 - depths[i]],
        pixels=lambda i: np.full((6, 5), round(100 * depths[i]), "<i2"),
    )  # fmt: skip
    study = read(tmp_path)
    affine = np.array(study.facts.affine_lps)
    for index, value in enumerate(study.full[:, 0, 0]):
        assert value == pytest.approx(100 * (50 - (affine @ [index, 0, 0, 1])[2]), abs=3)
    assert "irregular steps" in notes(study)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_a_regular_stack(tmp_path) -> None:
    write_stack(tmp_path, count=17, step=(0, 0, 0), ImagePositionPatient=lambda i: [0, 0, round(50 - 0.625 * i, 1)])
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [100 * i for i in range(17)]
    assert study.facts.spacing_mm[0] == pytest.approx(0.625, abs=2e-3)
    assert "irregular" not in notes(study)


def test_a_curved_reformat_keeps_its_slices_and_says_so(tmp_path) -> None:
    angles = np.radians(np.linspace(-20, 20, 21))
    centres = np.cumsum([(0, np.sin(a), -np.cos(a)) for a in angles], axis=0)
    write_stack(
        tmp_path, count=21, step=(0, 0, 0), ImagePositionPatient=lambda i: [float(v) for v in centres[i]],
        ImageOrientationPatient=lambda i: [1, 0, 0, 0, float(np.cos(angles[i])), float(np.sin(angles[i]))],
    )  # fmt: skip
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [100 * i for i in range(21)]
    assert "curved reformat" in notes(study)
    assert "leave a straight line by up to" in notes(study)


@pytest.mark.parametrize("orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)])
def test_sagittal_and_coronal_stacks_are_refused(tmp_path, orientation) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    write_stack(tmp_path, step=tuple(normal), ImageOrientationPatient=list(orientation))
    assert refused(tmp_path).code == RefusalCode.NOT_AXIAL


def test_one_slice_is_refused(tmp_path) -> None:
    write_stack(tmp_path, count=1)
    assert refused(tmp_path).code == RefusalCode.TOO_FEW_SLICES


@pytest.mark.parametrize("spacing", [None, [0, 0.5], [0.5, 0], [-0.5, 0.5], [0.5], [1e6, 1e6]])
def test_missing_or_impossible_spacing_is_refused(tmp_path, spacing) -> None:
    write_stack(tmp_path, PixelSpacing=spacing)
    assert refused(tmp_path).code == RefusalCode.SPACING_INVALID


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_missing_geometry_is_refused(tmp_path, tag) -> None:
    write_stack(tmp_path, **{tag: None})
    assert refused(tmp_path).code == RefusalCode.GEOMETRY_MISSING


@pytest.mark.parametrize("orientation", [[0] * 6, [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 2, 0]])
def test_impossible_orientation_is_refused(tmp_path, orientation) -> None:
    write_stack(tmp_path, ImageOrientationPatient=orientation)
    assert refused(tmp_path).code == RefusalCode.GEOMETRY_INVALID


def test_all_slices_at_one_position_are_refused(tmp_path) -> None:
    write_stack(tmp_path, step=(0, 0, 0))
    assert refused(tmp_path).code == RefusalCode.TOO_FEW_SLICES


@pytest.mark.parametrize("shape", [(8, 8), (6, 5), (5, 7), (12, 12)])
def test_non_square_sizes_and_the_half_grid(tmp_path, shape) -> None:
    write_stack(tmp_path, pixels=lambda i: ramp(i, shape))
    study = read(tmp_path)
    factor = 4 / max(shape)
    assert study.facts.half_factor == factor
    assert study.half.shape == (6, 4, 4)
    _, rows, columns = study.facts.half_inner_shape
    assert max(rows, columns) == 4
    assert (rows, columns) == tuple(round(side * factor) for side in shape)
    assert (study.half[:, rows:, :] == -1000).all()
    assert (study.half[:, :, columns:] == -1000).all()
    inner = study.half[:, :rows, :columns]
    assert study.facts.mean == pytest.approx(inner.mean())
    assert study.facts.std == pytest.approx(inner.std())


def test_halving_averages_two_by_two_and_its_affine_lies_between_the_pixels(tmp_path) -> None:
    write_stack(tmp_path, pixels=lambda i: ramp(i, (8, 8)))
    study = read(tmp_path)
    full = study.full.astype(float)
    assert np.array_equal(study.half, np.rint(full.reshape(6, 4, 2, 4, 2).mean(axis=(2, 4))))
    first = np.array(study.facts.half_affine_lps) @ [0, 0, 0, 1]
    corners = [np.array(study.facts.affine_lps) @ [0, y, x, 1] for y in (0, 1) for x in (0, 1)]
    assert first == pytest.approx(np.mean(corners, axis=0))


def test_nine_lossless_syntaxes_give_the_same_volume_byte_for_byte(tmp_path) -> None:
    anatomy = np.random.default_rng(1).integers(-1024, 3071, (3, 64, 66)).astype("<i2")
    volumes = []
    for syntax in NINE_LOSSLESS:
        folder = tmp_path / str(syntax)
        write_stack(folder, count=3, pixels=lambda i: anatomy[i], syntax=syntax)
        volumes.append(read(folder))
    for volume in volumes:
        assert volume.full.tobytes() == anatomy.tobytes()
        assert volume.half.tobytes() == volumes[0].half.tobytes()
        assert volume.facts == volumes[0].facts


def test_rescale_that_changes_from_slice_to_slice(tmp_path) -> None:
    write_stack(tmp_path, RescaleIntercept=lambda i: -100 * i, RescaleSlope=lambda i: 1 if i % 2 else 2)
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == [0, 0, 200, 0, 400, 0]
    assert "rescale to Hounsfield units changes" in notes(study)


def test_constant_pixels_are_refused(tmp_path) -> None:
    write_stack(tmp_path, pixels=lambda i: np.zeros((6, 5), "<i2"))
    assert refused(tmp_path).code == RefusalCode.PIXELS_CONSTANT


def test_enhanced_multi_frame_ct(tmp_path) -> None:
    """Frames are in a mixed order, each with a rescale of its own."""
    frames = np.stack([ramp(index) for index in range(7)])
    (tmp_path / "1").write_bytes(encoded(enhanced(frames)))
    study = read(tmp_path)
    order = [frame for _, frame in sorted(((frame * 3) % 7, frame) for frame in range(7))]
    assert study.full[:, 0, 0].tolist() == [100 * frame - 1000 - place for place, frame in enumerate(order)]
    assert study.facts.spacing_mm == pytest.approx([1, 0.5, 0.5])


def test_frames_without_positions_are_refused(tmp_path) -> None:
    dataset = enhanced(np.stack([ramp(index) for index in range(3)]))
    del dataset.PerFrameFunctionalGroupsSequence
    (tmp_path / "1").write_bytes(encoded(dataset))
    assert refused(tmp_path).code == RefusalCode.GEOMETRY_MISSING


def test_the_digest_is_of_the_files_that_are_used(tmp_path) -> None:
    write_stack(tmp_path / "a")
    first = open_study(tmp_path / "a", tmp_path, EVERY).content_digest
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    assert open_study(tmp_path / "b", tmp_path, EVERY).content_digest == first
    path = tmp_path / "b" / "1.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert open_study(tmp_path / "b", tmp_path, EVERY).content_digest != first


def test_study_uid_is_a_digest_where_the_files_have_none(tmp_path) -> None:
    for name, uid in (("full", STUDY), ("empty", ""), ("words", "John Doe"), ("path", "../../etc")):
        write_stack(tmp_path / name, StudyInstanceUID=uid)
    assert open_study(tmp_path / "full", tmp_path, EVERY).study_uid == STUDY
    for name in ("empty", "words", "path"):
        assert open_study(tmp_path / name, tmp_path, EVERY).study_uid.startswith("study-")


def test_a_patient_id_that_anonymisers_write_makes_no_group() -> None:
    for nobody in ("", "ANONYMOUS", "anonymized", "Unknown ", "0000", "***", "N/A"):
        assert patient_group(nobody) == ""
    assert patient_group("271") != patient_group("272") != ""
    assert "271" not in patient_group("271")


def test_nothing_of_the_patient_is_in_the_facts(tmp_path) -> None:
    secret = "SMITH^JOHN"
    write_stack(
        tmp_path,
        PatientID=secret,
        FrameOfReferenceUID=secret,
        SeriesDescription=secret,
        PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    text = canonical_json(read(tmp_path).facts.to_json())
    for private in ("SMITH", "JOHN", "SECRET", "1970"):
        assert private not in text


def test_links_out_of_the_data_set_are_refused_unless_allowed(tmp_path) -> None:
    write_stack(tmp_path / "elsewhere")
    root = tmp_path / "images"
    (root / "1.2").mkdir(parents=True)
    for path in (tmp_path / "elsewhere").iterdir():
        (root / "1.2" / path.name).symlink_to(path)
    (root / "1.3").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    for name in ("1.2", "1.3"):
        with pytest.raises(StudyRefused) as caught:
            open_study(root / name, root, EVERY)
        assert caught.value.code == RefusalCode.LINK_OUTSIDE
        assert open_study(root / name, root, VolumeSettings(1, 4, allow_symlinks=True)).grid.shape[0] == 6


def test_a_volume_that_is_too_large_is_refused_before_memory_is_taken(tmp_path) -> None:
    write_stack(tmp_path, pixels=ramp, Rows=60000, Columns=60000)
    assert refused(tmp_path).code == RefusalCode.TOO_LARGE


def test_a_study_beyond_max_study_mb_is_refused_and_the_sentence_names_the_key(tmp_path) -> None:
    write_stack(tmp_path, 6, pixels=lambda z: np.full((512, 512), z, "<i2"), Rows=512, Columns=512)
    assert read(tmp_path, VolumeSettings(1, 4, max_study_mb=4)).full.shape == (6, 512, 512)
    with pytest.raises(StudyRefused, match="a volume of 6 x 512 x 512 voxels takes 4 MB; max_study_mb is 3") as why:
        read(tmp_path, VolumeSettings(1, 4, max_study_mb=3))
    assert why.value.code == RefusalCode.TOO_LARGE


def test_a_header_that_claims_a_large_slice_over_a_small_file_is_refused(tmp_path) -> None:
    write_stack(tmp_path, Rows=4000, Columns=4000)
    assert refused(tmp_path).code == RefusalCode.PIXELS_DAMAGED


def test_thick_slices_are_noted_with_what_can_be_done(tmp_path) -> None:
    write_stack(tmp_path, step=(0, 0, -2.5))
    assert "5.00 mm apart after z_step: a vertebra has few of them; use z_step: 1" in notes(read(tmp_path, SECOND))
    assert notes(read(tmp_path)).endswith("2.50 mm apart after z_step: a vertebra has few of them")


def scanned(index: int) -> np.ndarray:
    """A ramp inside what scanners write around it: a border of -3024 and a screw of 30000."""
    pixels = np.full((8, 8), -3024, "<i2")
    pixels[1:7, 1:7] = ramp(index, (6, 6))
    pixels[3, 3] = 30000
    return pixels


def test_values_beyond_the_limits_are_set_to_them_before_everything_else(tmp_path) -> None:
    """What is limited when read equals what was limited before it was written: volumes, mean, standard deviation."""
    write_stack(tmp_path / "scanned", pixels=scanned)
    write_stack(tmp_path / "limited", pixels=lambda index: np.clip(scanned(index), -1024, 3071).astype("<i2"))
    study = read(tmp_path / "scanned", VolumeSettings(z_step=1, half_size=4, hu_limits=(-1024, 3071)))
    expected = read(tmp_path / "limited")
    assert (study.full.min(), study.full.max()) == (-1024, 3071)
    assert study.full[2, 1, 1] == 200
    np.testing.assert_array_equal(study.full, expected.full)
    np.testing.assert_array_equal(study.half, expected.half)
    assert study.facts == expected.facts


def test_without_limits_values_stay_as_they_are(tmp_path) -> None:
    write_stack(tmp_path, pixels=scanned)
    study = read(tmp_path)
    assert (study.full.min(), study.full.max()) == (-3024, 30000)


def test_the_stored_value_0_in_hounsfield_units_is_the_intercept_within_the_limits(tmp_path) -> None:
    write_stack(tmp_path, RescaleIntercept="-1200", RescaleSlope="2")
    assert read(tmp_path).facts.raw_zero_hu == -1200.0
    limited = read(tmp_path, VolumeSettings(z_step=1, half_size=4, hu_limits=(-1024, 3071)))
    assert limited.facts.raw_zero_hu == -1024.0


def test_slices_are_limited_before_a_missing_one_is_made_of_them(tmp_path) -> None:
    """Metal in one neighbour alone: (3071 + 1071) / 2, not the limit of (30000 + 1071) / 2."""
    for index in (0, 1, 3, 4):
        pixels = np.full((4, 4), 1071, "<i2")
        pixels[1, 1] = 30000 if index == 1 else 1071
        pixels[0] = -500
        (tmp_path / f"{index}.dcm").write_bytes(encoded(make_slice(pixels, (0, 0, -index), index)))
    study = read(tmp_path, VolumeSettings(z_step=1, half_size=4, hu_limits=(-1024, 3071)))
    assert study.full[:, 1, 1].tolist() == [1071, 3071, 2071, 1071, 1071]


def test_a_z_step_that_leaves_one_slice_is_refused(tmp_path) -> None:
    write_stack(tmp_path)
    assert refused(tmp_path, VolumeSettings(6, 4)).code == RefusalCode.TOO_FEW_SLICES
    assert read(tmp_path, VolumeSettings(5, 4)).full[:, 0, 0].tolist() == [0, 500]


def test_lossy_compression_is_noted(tmp_path) -> None:
    write_stack(tmp_path, LossyImageCompression="01")
    assert "lossy compression" in notes(read(tmp_path))


def test_slices_of_one_file_written_by_another_test_helper_are_equal() -> None:
    assert encoded(make_slice(ramp(1))) == encoded(make_slice(ramp(1)))


@pytest.mark.parametrize("settings", [EVERY, SECOND])
@pytest.mark.parametrize("length", [0, 58])
def test_pixels_shorter_than_their_slice_are_seen_in_the_header_even_where_the_slice_is_dropped(
    tmp_path, settings, length
) -> None:
    write_stack(tmp_path)
    short = make_slice(ramp(1), (-10, -20, 99), 2)
    short.PixelData = short.PixelData[:length]
    (tmp_path / "1.dcm").write_bytes(encoded(short))
    with pytest.raises(StudyRefused) as caught:
        for header in open_study(tmp_path, tmp_path, settings).grid.headers:
            pixels.check_claims(header)
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED
    assert refused(tmp_path, settings).code == RefusalCode.PIXELS_DAMAGED


def content(folder, z_step: int) -> str:
    return open_study(folder, folder, VolumeSettings(z_step=z_step, half_size=32)).content_digest


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_pixels_count_where_they_are_decoded_and_headers_everywhere(tmp_path, syntax) -> None:
    """Slices 1, 3, 5 are left out by a step of 2; of a deflated file header and pixels cannot be told apart."""
    write_stack(tmp_path, 6, syntax=syntax)
    before = {step: content(tmp_path, step) for step in (1, 2)}
    for index in range(6):
        path = tmp_path / f"{index}.dcm"
        original = path.read_bytes()
        other = encoded(make_slice(ramp(index) + 1, (-10.0, -20.0, 100.0 - index), index + 1), syntax)
        path.write_bytes(other)
        dropped = index % 2 == 1 and syntax != DeflatedExplicitVRLittleEndian and len(other) == len(original)
        assert content(tmp_path, 1) != before[1]
        assert (content(tmp_path, 2) == before[2]) == dropped
        path.write_bytes(encoded(make_slice(ramp(index), (-10.0, -20.0, 100.0 - index), index + 40), syntax))
        assert content(tmp_path, 2) != before[2]
        path.write_bytes(original + b"\0\0")
        assert content(tmp_path, 2) != before[2]
        path.write_bytes(original)
    assert {step: content(tmp_path, step) for step in (1, 2)} == before


def test_the_pixels_of_copies_and_of_neighbours_that_are_blended_count(tmp_path) -> None:
    write_stack(tmp_path, 9)
    (tmp_path / "4.dcm").unlink()  # the plane at 4 is a blend of 3 and 5, which a step of 2 leaves out otherwise
    shutil.copy(tmp_path / "2.dcm", tmp_path / "copy.dcm")
    before = content(tmp_path, 2)
    for name, counts in (("3", True), ("5", True), ("copy", True), ("1", False), ("7", False)):
        path = tmp_path / f"{name}.dcm"
        original = path.read_bytes()
        path.write_bytes(original[:-1] + bytes((original[-1] ^ 1,)))
        assert (content(tmp_path, 2) != before) == counts, name
        path.write_bytes(original)
