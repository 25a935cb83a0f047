"""Label maps on disk, in every way that a NIfTI file may be stored, and in some that it may not."""

from __future__ import annotations

import errno
import gzip
import itertools
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.data.dataset import patience
from spine_models.data.dataset.disk import DiskError
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.labels import header as label_files
from spine_models.data.labels import nifti as voxel_files
from spine_models.data.labels.header import most_voxels
from spine_models.data.labels.nifti import LabelSettings, read_label
from spine_models.data.labels.onto_grid import check_label, half_label

BY_AFFINE, BY_INDEX = LabelSettings(), LabelSettings("index")
VALUES = np.random.default_rng(3).integers(0, 9, (5, 4, 3)).astype(np.int16)
AFFINE = np.array([[-0.5, 0, 0, 20], [0, -0.5, 0, 30], [0, 0, 2, 80], [0, 0, 0, 1.0]])
LPS = np.diag([-1.0, -1, 1, 1]) @ AFFINE


def save(path: Path, image: nib.Nifti1Image) -> Path:
    nib.save(image, path)
    return path


def refusal(path: Path, settings: LabelSettings = BY_AFFINE, **limits: int) -> StudyRefused:
    with pytest.raises(StudyRefused) as caught:
        read_label(path, settings, **limits)
    return caught.value


def forms(sform: np.ndarray | None, qform: np.ndarray | None) -> nib.Nifti1Image:
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.set_sform(sform, 0 if sform is None else 1)
    image.set_qform(qform, 0 if qform is None else 1)
    return image


@pytest.mark.parametrize(("sform", "qform"), [(AFFINE, AFFINE), (AFFINE, None), (None, AFFINE)])
def test_either_form_says_where_a_label_map_lies(tmp_path, sform, qform) -> None:
    label = read_label(save(tmp_path / "a.nii", forms(sform, qform)), BY_AFFINE)
    assert label.affine_lps == pytest.approx(LPS)
    assert label.notes == ()


def test_the_sform_wins_where_the_forms_disagree_and_that_is_noted(tmp_path) -> None:
    other = AFFINE.copy()
    other[0, 3] += 3
    label = read_label(save(tmp_path / "a.nii", forms(AFFINE, other)), BY_AFFINE)
    assert label.affine_lps == pytest.approx(LPS)
    affine = LPS[:, [2, 1, 0, 3]].tolist()
    facts = volume_facts(
        shape=(3, 4, 5), half_shape=(3, 5, 5), half_inner_shape=(3, 4, 5), slices=3, affine_lps=affine,
        half_affine_lps=affine,
    )  # fmt: skip
    half, found = half_label(label, facts, BY_AFFINE)
    assert np.array_equal(half[:, :4], np.where(VALUES > 7, 0, VALUES).transpose(2, 1, 0))
    assert "disagree: the sform is used" in found.notes[0]


def test_a_label_map_that_does_not_say_where_it_lies_is_refused(tmp_path) -> None:
    """nibabel would put its middle at the scanner's origin."""
    path = save(tmp_path / "a.nii", forms(None, None))
    why = refusal(path)
    assert why.code == RefusalCode.LABEL_GEOMETRY
    assert "label_geometry: index" in why.reason
    assert np.array_equal(read_label(path, BY_INDEX).values, VALUES)


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_by_index_an_affine_may_be_anything(tmp_path, broken) -> None:
    image = nib.Nifti1Image(VALUES, AFFINE)
    path = save(tmp_path / "a.nii", image)
    data = bytearray(path.read_bytes())
    data[280:328] = broken[:3].astype("<f4").tobytes()
    path.write_bytes(data)
    assert refusal(path).code == RefusalCode.LABEL_GEOMETRY
    assert np.array_equal(read_label(path, BY_INDEX).values, VALUES)
    check_label(path, np.eye(4), (3, 4, 5), BY_INDEX)
    with pytest.raises(StudyRefused, match="5 columns, 4 rows and 4 slices"):
        check_label(path, np.eye(4), (4, 4, 5), BY_INDEX)


STORED = list(itertools.product(("<", ">"), (nib.Nifti1Image, nib.Nifti2Image), ("u1", "i2", "u4", "f4", "f8")))


@pytest.mark.parametrize(("order", "kind", "dtype"), STORED)
def test_byte_orders_versions_and_types(tmp_path, order, kind, dtype) -> None:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    label = read_label(save(tmp_path / "a.nii.gz", kind(VALUES, AFFINE, header)), BY_AFFINE)
    assert np.array_equal(label.values, VALUES)
    assert label.affine_lps == pytest.approx(LPS)


@pytest.mark.parametrize("value", [29, 44, 117, 256, 32767])
def test_a_value_that_no_vertebra_has_is_refused_by_name(tmp_path, value) -> None:
    values = VALUES.copy()
    values[0, 0, 0] = value
    why = refusal(save(tmp_path / "a.nii", nib.Nifti1Image(values, AFFINE)))
    assert why.code == RefusalCode.LABEL_INVALID
    assert f"holds {value}," in why.reason
    assert "label_numbers" in why.reason


OWN = {"C1": 2001, "C2": 2002, "C3": 2003, "C4": 2004, "C5": 2005, "C6": 2006, "C7": 2007}


@pytest.mark.parametrize(
    ("numbers", "stored"),
    [("totalsegmentator", lambda level: 51 - level), (OWN, lambda level: 2000 + level), ("verse", lambda level: level)],
)
def test_other_numberings_become_levels(tmp_path, numbers, stored) -> None:
    """TotalSegmentator's 1 to 7 are abdominal organs."""
    levels = np.where(VALUES > 7, 0, VALUES)
    values = np.where(levels > 0, stored(levels), 0).astype(np.int16)
    values[0, 0, 0] = stored(9)
    if numbers != "verse":
        values[0, 0, 1] = 5
        levels[0, 0, :2] = 0
    else:
        levels[0, 0, 0] = 9
    path = save(tmp_path / "a.nii", nib.Nifti1Image(values, AFFINE))
    assert np.array_equal(read_label(path, LabelSettings(label_numbers=numbers)).values, levels)


def scaled(path: Path, slope: float) -> Path:
    image = nib.Nifti1Image((VALUES / 0.5).astype(np.int16), AFFINE)
    image.header.set_slope_inter(slope, 0)
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([slope, 0], "<f4").tobytes()
    path.write_bytes(data)
    return path


def test_whole_numbers_that_a_slope_scales_are_read_and_others_named(tmp_path) -> None:
    assert np.array_equal(read_label(scaled(tmp_path / "a.nii", 0.5), BY_AFFINE).values, VALUES)
    why = refusal(scaled(tmp_path / "b.nii", 0.2))
    assert why.code == RefusalCode.LABEL_INVALID
    assert "with the slope 0.2" in why.reason


def test_a_file_called_compressed_that_is_not_is_refused_with_that_reason(tmp_path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(nib.Nifti1Image(VALUES, AFFINE).to_bytes())
    why = refusal(path)
    assert why.code == RefusalCode.LABEL_DAMAGED
    assert "not compressed, but called so: name it .nii" in why.reason


@pytest.mark.parametrize("name", ["a.NII", "a.nii.GZ", "a.NII.GZ", "a.Nii", "a.Nii.gz", "a.nII.gZ"])
def test_suffixes_are_read_in_capitals_and_small_letters(tmp_path, name) -> None:
    data = nib.Nifti1Image(VALUES, AFFINE).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)
    assert np.array_equal(read_label(tmp_path / name, BY_AFFINE).values, VALUES)


def test_a_compressed_file_that_is_not_called_so_is_refused_with_that_reason(tmp_path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(gzip.compress(nib.Nifti1Image(VALUES, AFFINE).to_bytes()))
    why = refusal(path)
    assert why.code == RefusalCode.LABEL_DAMAGED
    assert "name it .nii.gz" in why.reason


def test_a_header_that_claims_more_than_the_volume_can_need_is_refused_before_memory_is_taken(tmp_path) -> None:
    """A few kB of zeros compressed: 1.6 GB of voxels."""
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), AFFINE)
    raw = bytearray(image.to_bytes())
    raw[42:48] = np.array([1024, 1024, 1500], "<i2").tobytes()
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(bytes(raw)))
    tracemalloc.start()
    why = refusal(path, max_voxels=most_voxels(512, 512, 300))
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert why.code == RefusalCode.LABEL_INVALID
    assert "too large" in why.reason
    raw[42:48] = np.array([20000, 1, 1], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    assert refusal(path).code == RefusalCode.LABEL_INVALID


def test_what_a_label_map_may_have_follows_the_volume() -> None:
    assert most_voxels(512, 512, 300) == 4 * 512 * 512 * 300
    assert most_voxels(8, 8, 4) == 1 << 24
    assert most_voxels(4096, 4096, 1000) == label_files.MAX_LABEL_VOXELS


def test_a_compressed_label_map_is_read_through_once(tmp_path, monkeypatch) -> None:
    """Opening it anew for each slab would decompress it as often as it has slabs."""
    path = save(tmp_path / "a.nii.gz", nib.Nifti1Image(np.zeros((4, 4, 60), np.uint8), AFFINE))
    opened = []
    original = nib.openers.Opener.__init__
    monkeypatch.setattr(
        nib.openers.Opener, "__init__", lambda self, *args, **more: opened.append(1) or original(self, *args, **more)
    )
    read_label(path, BY_AFFINE)
    assert len(opened) < 10


class Failing:
    """Voxels of a disk that fails before it gives them."""

    def __init__(self, voxels, failures: list[Exception]) -> None:
        self._voxels, self._failures = voxels, failures

    def __getitem__(self, where):
        if self._failures:
            raise self._failures.pop()
        return self._voxels[where]


@pytest.fixture
def failures(monkeypatch) -> list[Exception]:
    """What the disk raises in place of voxels, one after the other; nobody waits for it."""
    found: list[Exception] = []
    opened = voxel_files.open_label

    def open_label(*args):
        label = opened(*args)
        return replace(label, image=SimpleNamespace(dataobj=Failing(label.image.dataobj, found)))

    monkeypatch.setattr(voxel_files, "open_label", open_label)
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: None)
    return found


def test_a_disk_that_comes_back_gives_the_label_map(tmp_path, failures) -> None:
    path = save(tmp_path / "a.nii.gz", nib.Nifti1Image(VALUES, AFFINE))
    failures += [OSError(errno.EIO, "Input/output error"), OSError(errno.ESTALE, "Stale file handle")]
    np.testing.assert_array_equal(read_label(path, BY_AFFINE).values, VALUES)


@pytest.mark.parametrize(
    ("failure", "expected"), [(OSError(errno.EACCES, "Permission denied"), DiskError), (MemoryError(), MemoryError)]
)
def test_what_the_machine_fails_at_is_no_damage(tmp_path, failures, failure, expected) -> None:
    path = save(tmp_path / "SMITH.nii", nib.Nifti1Image(VALUES, AFFINE))
    failures.append(failure)
    with pytest.raises(expected) as caught:
        read_label(path, BY_AFFINE)
    assert "SMITH" not in str(caught.value)


def test_a_label_map_on_a_disk_that_is_not_mounted_is_no_damage(tmp_path) -> None:
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / "unmounted" / "a.nii.gz")
    with pytest.raises(DiskError, match="the label map of the study cannot be read"):
        read_label(tmp_path / "a.nii.gz", BY_AFFINE)


def with_notes(path: Path, claimed: int, zeros: int) -> Path:
    """Write a compressed label map whose notes before the voxels claim ``claimed`` bytes and have ``zeros``."""
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.header["vox_offset"] = 352 + zeros
    header = bytearray(image.header.binaryblock)
    with gzip.open(path, "wb", 1) as stream:
        stream.write(bytes(header) + b"\x01\0\0\0" + struct.pack("<ii", claimed, 6))
        for _ in range((zeros - 8) >> 20):
            stream.write(bytes(1 << 20))
        stream.write(bytes((zeros - 8) % (1 << 20)) + VALUES.tobytes(order="F"))
    return path


@pytest.mark.parametrize("claimed", [0, -1, 16, 1 << 20, (1 << 31) - 1])
def test_notes_of_any_size_take_no_memory_and_the_voxels_are_read(tmp_path, claimed) -> None:
    path = with_notes(tmp_path / "a.nii.gz", claimed, 48 << 20)
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read_label(path, BY_AFFINE).values, VALUES)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("sides", "offset"), [((400, 400, 60), 352), ((5, 4, 3), 1 << 30)])
def test_a_header_that_claims_more_than_the_file_is_refused_before_memory_is_taken(
    tmp_path, suffix, sides, offset
) -> None:
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.header.set_data_shape(sides)
    image.header["vox_offset"] = offset
    data = image.header.binaryblock + bytes(4) + VALUES.tobytes()
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
    tracemalloc.start()
    try:
        with pytest.raises(StudyRefused, match="which the file does not hold") as refusal:
            read_label(tmp_path / f"a{suffix}", BY_AFFINE)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert refusal.value.code is RefusalCode.LABEL_DAMAGED
