"""Passes are never mixed: every volume holds slices of one pass alone, or the study is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.study import StudyVolume, VolumeSettings, read_study
from tests.data.dicom_builder import STUDY, encoded, enhanced, make_slice

EVERY = VolumeSettings(z_step=1, half_size=4)
SHIFT = 5000
"""HU that a pass has more than the one before."""

TELLS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "acquisition number": lambda number, i: {"AcquisitionNumber": number + 1},
    "temporal position": lambda number, i: {"TemporalPositionIdentifier": number + 1},
    "tube voltage": lambda number, i: {"KVP": 80 + 60 * number},
    "kernel": lambda number, i: {"ConvolutionKernel": f"B{30 + 40 * number}"},
    "image type": lambda number, i: {"ImageType": ["ORIGINAL", "PRIMARY", "AB"[number]]},
    "order of SOP instance UIDs": lambda number, i: {"SOPInstanceUID": f"{STUDY}.{number + 5}.{i + 1}"},
}


def write_pass(folder: Path, number: int, heights: list[float], tags: Callable[[int, int], dict[str, Any]]) -> None:
    """Slices whose pixels are 10 HU a mm, and ``SHIFT`` more in the second pass; names and numbers tell nothing."""
    folder.mkdir(exist_ok=True)
    for index, z in enumerate(heights):
        pixels = np.full((4, 4), round(10 * z) + SHIFT * number, "<i2")
        dataset = make_slice(pixels, (0, 0, z), index + 1, **tags(number, index))
        (folder / f"{(7 * index + 3 * number) % 101:03d}{number}").write_bytes(encoded(dataset))


def read(folder: Path) -> StudyVolume:
    return read_study(folder, EVERY)


def assert_one_pass(study: StudyVolume, number: int | None = None) -> None:
    affine = np.array(study.facts.affine_lps)
    heights = affine[2, 3] + affine[2, 0] * np.arange(len(study.full))
    beyond = (study.full[:, 0, 0] - 10 * heights) / SHIFT
    assert np.abs(beyond - np.rint(beyond[0])).max() < 0.001
    if number is not None:
        assert round(float(beyond[0])) == number


def falling(start: float, step: float, count: int, without: tuple[int, ...] = ()) -> list[float]:
    return [start - step * i for i in range(count) if i not in without]


LAYOUTS = {
    "one lost in each": (falling(100, 1, 31, (10,)), falling(100, 1, 31, (20,))),
    "several lost in each": (falling(100, 1, 31, (3, 4, 11)), falling(100, 1, 31, (20, 28))),
    "shifted by 0.3": (falling(100, 1, 31), falling(99.7, 1, 31)),
    "shifted by half a step": (falling(100, 1, 31), falling(99.5, 1, 31)),
    "shifted and lost": (falling(100, 1, 31, (9,)), falling(99.5, 1, 31, (12, 13))),
    "overlap, other steps": (falling(100, 2, 20), falling(66.7, 1.25, 30)),
    "overlap, shifted": (falling(100, 2, 20), falling(66.7, 2, 30)),
    "overlap, same positions": (falling(100, 2, 20), falling(68, 2, 30)),
    "one inside the other": (falling(100, 1, 60), falling(80.5, 1, 20)),
}


@pytest.mark.parametrize("tell", TELLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_volume_is_of_the_larger_pass_alone(tmp_path, layout, tell) -> None:
    one, other = LAYOUTS[layout]
    write_pass(tmp_path, 0, one, TELLS[tell])
    write_pass(tmp_path, 1, other, TELLS[tell])
    if tell.startswith("order") and layout in ("shifted by half a step", "shifted and lost"):
        pytest.skip("one regular stack, and UIDs need not be in order")
    study = read(tmp_path)
    assert_one_pass(study, None if len(other) == len(one) else int(len(other) > len(one)))
    assert f"told apart by the {tell}" in " ".join(study.facts.notes)


@pytest.mark.parametrize("tell", [tell for tell in TELLS if not tell.startswith("order")])
@pytest.mark.parametrize("lost", [(10,), (10, 11, 20), (3, 8, 9, 17)])
def test_a_pass_that_lost_what_another_still_has_borrows_nothing(tmp_path, tell, lost) -> None:
    """Together the two are a regular stack with each position once; found by ``make fuzz``."""
    write_pass(tmp_path, 0, falling(100, 1, 31, lost), TELLS[tell])
    write_pass(tmp_path, 1, [100 - number for number in lost], TELLS[tell])
    study = read(tmp_path)
    assert_one_pass(study, 0)
    assert study.full.shape[0] == 31
    assert f"told apart by the {tell}" in " ".join(study.facts.notes)


def test_passes_that_lost_too_much_to_be_bridged_are_refused(tmp_path) -> None:
    """Both complete each other to a regular stack, and neither is one."""
    first = [number for number in range(31) if number % 7 < 2]
    write_pass(tmp_path, 0, [100 - 3 * number for number in first], TELLS["acquisition number"])
    others = [number for number in range(31) if number not in first]
    write_pass(tmp_path, 1, [100 - 3 * number for number in others], TELLS["acquisition number"])
    with pytest.raises(StudyRefused) as caught:
        read(tmp_path)
    assert caught.value.code == RefusalCode.STEPS_TOO_WIDE


def test_passes_in_two_runs_of_instance_numbers_at_half_steps(tmp_path) -> None:
    write_pass(tmp_path, 0, falling(100, 1, 12), lambda number, i: {})
    write_pass(tmp_path, 1, falling(99.5, 1, 12), lambda number, i: {"InstanceNumber": 13 + i})
    assert_one_pass(read(tmp_path), 0)


def test_more_time_points_and_kernels_than_two(tmp_path) -> None:
    def tags(number: int, index: int) -> dict[str, Any]:
        return {"TemporalPositionIdentifier": number // 2, "ConvolutionKernel": "AB"[number % 2]}

    for number in range(6):
        write_pass(tmp_path, number, falling(100, 1, 12, (number + 2,)), tags)
    study = read(tmp_path)
    assert_one_pass(study)
    assert study.full.shape[0] == 12


def test_passes_that_only_numbers_at_each_position_could_tell_apart_are_refused_if_one_is_incomplete(tmp_path) -> None:
    """Interleaved instance numbers say nothing once a file is lost."""
    write_pass(tmp_path, 0, falling(100, 1, 12, (4,)), lambda number, i: {"InstanceNumber": 2 * i})
    write_pass(tmp_path, 1, falling(100, 1, 12, (7,)), lambda number, i: {"InstanceNumber": 2 * i + 1})
    with pytest.raises(StudyRefused) as caught:
        read(tmp_path)
    assert caught.value.code == RefusalCode.SERIES_AMBIGUOUS


def test_rotations_of_a_step_and_shoot_scan_stay_one_stack(tmp_path) -> None:
    write_pass(tmp_path, 0, falling(100, 1, 24), lambda number, i: {"AcquisitionNumber": i // 4})
    assert read(tmp_path).full.shape[0] == 24


@pytest.mark.parametrize("tag", [{"AcquisitionNumber": 2}, {"KVP": 120}, {"ConvolutionKernel": "B30"}])
def test_a_tag_that_some_slices_lack_is_no_pass(tmp_path, tag) -> None:
    write_pass(tmp_path, 0, falling(100, 1, 24), lambda number, i: tag if i % 2 else {})
    assert read(tmp_path).full.shape[0] == 24


@pytest.mark.parametrize(
    "frame_of_reference",
    [
        lambda i: f"{STUDY}.{i + 1}",
        lambda i: f"{STUDY}.{1 + i % 2}",
        lambda i: f"{STUDY}.{1 + (i >= 6)}",
        lambda i: "" if i in (3, 4, 7) else f"{STUDY}.1",
    ],
    ids=["per slice", "alternating", "halves", "absent in three"],
)
def test_frames_of_reference_do_not_split_a_scan(tmp_path, frame_of_reference) -> None:
    write_pass(tmp_path, 0, falling(100, 1, 12), lambda number, i: {"FrameOfReferenceUID": frame_of_reference(i)})
    study = read(tmp_path)
    assert study.full.shape[0] == 12
    assert study.facts.notes == ()


@pytest.mark.parametrize("tag", ["SeriesInstanceUID", "StudyInstanceUID", "PatientID"])
def test_an_identifier_that_some_slices_lack_does_not_split_a_scan(tmp_path, tag) -> None:
    write_pass(tmp_path, 0, falling(100, 1, 12), lambda number, i: {tag: ""} if i in (3, 4, 8) else {})
    study = read(tmp_path)
    assert study.full.shape[0] == 12
    assert study.facts.notes == ()


def test_a_series_uid_for_each_slice_does_not_split_a_scan(tmp_path) -> None:
    write_pass(tmp_path, 0, falling(100, 1, 12), lambda number, i: {"SeriesInstanceUID": f"{STUDY}.{i}"})
    assert read(tmp_path).full.shape[0] == 12


def test_planned_steps_are_not_called_missing(tmp_path) -> None:
    write_pass(tmp_path / "thin", 0, np.cumsum([-0.625] * 20 + [-5.0] * 4).tolist(), lambda number, i: {})
    assert "missing" not in " ".join(read(tmp_path / "thin").facts.notes)
    write_pass(tmp_path / "wide", 0, np.cumsum([-2.5] * 31 + [-7.5] * 11).tolist(), lambda number, i: {})
    with pytest.raises(StudyRefused) as caught:
        read(tmp_path / "wide")
    assert caught.value.code == RefusalCode.STEPS_TOO_WIDE
    assert "missing" not in caught.value.reason


def frames_of(content: Callable[[int], dict[str, Any]], own: Callable[[int], dict[str, Dataset]]) -> Dataset:
    """Twelve positions, twice: frame i of the first dozen at 100 - i, those of the second with ``SHIFT`` HU more."""
    frames = np.stack([np.full((4, 4), 1000 - 10 * (i % 12) + SHIFT * (i // 12), "<i2") for i in range(24)])
    dataset = enhanced(frames)
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [0.0, 0.0, 100.0 - index % 12]
        values = group.PixelValueTransformationSequence[0]
        values.RescaleIntercept, values.RescaleSlope, values.RescaleType = 0, 1, "HU"
        item = Dataset()
        for keyword, value in content(index // 12).items():
            setattr(item, keyword, value)
        group.FrameContentSequence = Sequence([item])
        for keyword, nested in own(index // 12).items():
            setattr(group, keyword, Sequence([nested]))
    return dataset


def item(**tags: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


FRAME_TELLS: dict[str, tuple[Callable[[int], dict[str, Any]], Callable[[int], dict[str, Dataset]]]] = {
    "acquisition number": (lambda n: {"FrameAcquisitionNumber": n + 1}, lambda n: {}),
    "temporal position": (lambda n: {"TemporalPositionIndex": n + 1}, lambda n: {}),
    "stack": (lambda n: {"StackID": str(n + 1)}, lambda n: {}),
    "acquisition time": (lambda n: {"FrameAcquisitionDateTime": f"2024010112000{n}"}, lambda n: {}),
    "tube voltage": (lambda n: {}, lambda n: {"CTXRayDetailsSequence": item(KVP=80 + 60 * n)}),
    "kernel": (lambda n: {}, lambda n: {"CTReconstructionSequence": item(ConvolutionKernel=f"B{n}")}),
    "image type": (lambda n: {}, lambda n: {"CTImageFrameTypeSequence": item(FrameType=["ORIGINAL", f"T{n}"])}),
}


@pytest.mark.parametrize("tell", FRAME_TELLS)
def test_frames_of_two_passes_are_told_apart(tmp_path, tell) -> None:
    (tmp_path / "1").write_bytes(encoded(frames_of(*FRAME_TELLS[tell])))
    study = read(tmp_path)
    assert_one_pass(study)
    assert study.full.shape[0] == 12
    assert f"told apart by the {tell}" in " ".join(study.facts.notes)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("not Hounsfield units", {"PixelValueTransformationSequence": item(RescaleIntercept=0, RescaleSlope=1,
                                                                           RescaleType="Z_EFF")}),
        ("localizer", {"CTImageFrameTypeSequence": item(FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER"])}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_each_frame_is_judged_by_its_own_groups(tmp_path, kind, own, first) -> None:
    """Stray frames come first or last; the first frame speaks for itself alone."""
    stray = 0 if first else 1
    (tmp_path / "1").write_bytes(encoded(frames_of(lambda n: {}, lambda n: own if n == stray else {})))
    study = read(tmp_path)
    assert_one_pass(study, 1 - stray)
    assert study.facts.notes == (f"12 frames left out: {kind}",)


def test_frames_that_are_not_described_one_by_one_are_damage(tmp_path) -> None:
    dataset = frames_of(lambda n: {}, lambda n: {})
    dataset.PerFrameFunctionalGroupsSequence = Sequence(list(dataset.PerFrameFunctionalGroupsSequence)[:-1])
    (tmp_path / "1").write_bytes(encoded(dataset))
    with pytest.raises(StudyRefused) as caught:
        read(tmp_path)
    assert caught.value.code == RefusalCode.NO_IMAGES
    assert "frames and their descriptions differ" in caught.value.reason
