"""What real archives hold and the standard allows: the volume that comes out is the same plain stack."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from spine_models.data.dicom.study import StudyVolume, VolumeSettings, read_study
from tests.data.dicom_builder import NINE_LOSSLESS, encoded, make_slice, ramp, write_stack

PLAIN = [0, 100, 200, 300, 400, 500]
LARGE = (64, 66)


def changed(folder: Path, change: Callable[[Dataset, int], None]) -> None:
    for index, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        change(dataset, index)
        dataset.save_as(path)


def one_series_in_two_folders(folder: Path) -> None:
    write_stack(folder / "A", count=2)
    write_stack(
        folder / "B", count=4, start=(-10, -20, 98), instance=lambda i: i + 3, pixels=lambda i: ramp(i + 2)
    )  # fmt: skip


def every_slice_in_another_transfer_syntax(folder: Path) -> None:
    for index in range(6):
        data = encoded(make_slice(ramp(index, LARGE), (0, 0, 100 - index)), NINE_LOSSLESS[index + 3])
        (folder / f"{index}").write_bytes(data)


def positions_of_sixteen_characters(folder: Path) -> None:
    write_stack(
        folder, step=(0, 0, 0),
        ImagePositionPatient=lambda i: ["-124.755859375", "-263.755859375", f"{-1203.0833333 - 0.3 * i:.11f}"[:16]],
    )  # fmt: skip


def exponents_and_spaces(folder: Path) -> None:
    write_stack(folder, ImagePositionPatient=lambda i: ["+1.0E+01", " -20 ", f"{100 - i:.4E}"])


def orientation_with_noise(folder: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(6, 6)) * 1e-4
    write_stack(folder, ImageOrientationPatient=lambda i: [float(f"{v:.5f}") for v in noise[i] + [1, 0, 0, 0, 1, 0]])


def scouts_under_the_same_series_uid(folder: Path) -> None:
    write_stack(folder)
    for name, shape in (("a", (6, 5)), ("b", (9, 5))):
        scout = make_slice(ramp(9, shape), (0, 0, 300), 99, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
        (folder / f"scout {name}").write_bytes(encoded(scout))


def no_uids_at_all(folder: Path) -> None:
    for index in range(6):
        dataset = make_slice(ramp(index), (0, 0, 100 - index), index + 1)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, "")
        (folder / f"{index}").write_bytes(encoded(dataset, preamble=False))


def names_in_other_scripts(folder: Path) -> None:
    write_stack(
        folder / "Jürgen 患者", name="Müller^患{}.dcm".format, SpecificCharacterSet="ISO_IR 192", PatientID="Пациент",
        SeriesDescription="Halswirbelsäule",
    )  # fmt: skip


def negative_spacing_and_no_thickness(folder: Path) -> None:
    write_stack(folder, SpacingBetweenSlices=-1.0, SliceThickness="0", SliceLocation=lambda i: 3 * i)


def frames_in_fragments(folder: Path) -> None:
    write_stack(folder, pixels=lambda i: ramp(i, LARGE), syntax=JPEG2000Lossless)

    def split(dataset: Dataset, index: int) -> None:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        dataset.PixelData = encapsulate([frame], fragments_per_frame=1 + index, has_bot=bool(index % 2))
        dataset["PixelData"].is_undefined_length = True

    changed(folder, split)


def more_bytes_than_pixels(folder: Path) -> None:
    write_stack(folder)

    def lengthen(dataset: Dataset, index: int) -> None:
        dataset.PixelData += bytes(10)
        dataset.add_new(0xFFFCFFFC, "OB", bytes(100))

    changed(folder, lengthen)


def icons_and_overlays_before_the_pixels(folder: Path) -> None:
    write_stack(folder)

    def add(dataset: Dataset, index: int) -> None:
        icon = Dataset()
        icon.Rows = icon.Columns = 2
        icon.PixelData = b"\1\2\3\4"
        icon["PixelData"].VR = "OB"
        dataset.IconImageSequence = Sequence([icon])
        dataset.add_new(0x60003000, "OW", b"\xff" * 4)

    changed(folder, add)


def a_meta_header_that_says_implicit(folder: Path) -> None:
    write_stack(folder)
    uids = [f"{uid}".encode().ljust(20, b"\0") for uid in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)]
    for path in folder.iterdir():
        data = path.read_bytes()
        length = data.index(uids[0]) - 2
        claimed = data[:length] + len(uids[1]).to_bytes(2, "little") + data[length + 2 :].replace(*uids, 1)
        path.write_bytes(claimed)


def a_copy_of_the_whole_folder_inside(folder: Path) -> None:
    write_stack(folder)
    shutil.copytree(folder, folder / "backup", ignore=lambda *_: ["backup"])


VARIANTS = (
    one_series_in_two_folders, every_slice_in_another_transfer_syntax, positions_of_sixteen_characters,
    exponents_and_spaces, orientation_with_noise, scouts_under_the_same_series_uid, no_uids_at_all,
    names_in_other_scripts, negative_spacing_and_no_thickness, frames_in_fragments, more_bytes_than_pixels,
    icons_and_overlays_before_the_pixels, a_meta_header_that_says_implicit, a_copy_of_the_whole_folder_inside,
)  # fmt: skip


def read(folder: Path) -> StudyVolume:
    return read_study(folder, VolumeSettings(z_step=1, half_size=4))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_the_plain_stack_comes_out(tmp_path, variant) -> None:
    variant(tmp_path)
    study = read(tmp_path)
    assert study.full[:, 0, 0].tolist() == PLAIN
    assert np.array_equal(study.full[3], ramp(3, study.full.shape[1:]))


POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0), "FFS": (1, 0, 0, 0, 1, 0), "HFP": (-1, 0, 0, 0, -1, 0), "FFP": (-1, 0, 0, 0, -1, 0),
    "HFDR": (0, -1, 0, 1, 0, 0), "HFDL": (0, 1, 0, -1, 0, 0), "FFDR": (0, 1, 0, 1, 0, 0), "FFDL": (0, -1, 0, -1, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("position", POSITIONS)
def test_patients_lie_as_they_like(tmp_path, position) -> None:
    """The orientation says how the image is turned in the patient; PatientPosition is about the scanner."""
    orientation = np.array(POSITIONS[position], float)
    write_stack(tmp_path, PatientPosition=position, ImageOrientationPatient=list(orientation))
    study = read(tmp_path)
    rows, columns = np.indices((6, 5))
    where = rows[..., None] * 0.5 * orientation[3:] + columns[..., None] * 0.5 * orientation[:3]
    affine = np.array(study.facts.affine_lps)
    for y, x in np.ndindex(study.full.shape[1:]):
        place = (affine @ [0, y, x, 1])[:3] - [-10, -20, 100]
        row, column = np.unravel_index(np.linalg.norm(where - place, axis=-1).argmin(), (6, 5))
        assert np.allclose(where[row, column], place)
        assert study.full[2, y, x] == ramp(2)[row, column]


def test_a_file_that_says_nothing_about_itself_is_read_like_any_other(tmp_path) -> None:
    """Neither preamble nor meta header, implicit little endian, as old archives have them."""
    for index in range(6):
        dataset = make_slice(ramp(index), (0, 0, 100 - index), index + 1)
        (tmp_path / f"{index}").write_bytes(encoded(dataset, ImplicitVRLittleEndian, preamble=False))
        assert pydicom.dcmread(io.BytesIO((tmp_path / f"{index}").read_bytes()), force=True).Rows == 6
    assert read(tmp_path).full[:, 0, 0].tolist() == PLAIN


def _written(dataset: Dataset, implicit: bool) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, implicit
    write_dataset(stream, dataset)
    return stream.getvalue()


def _meta(syntax: str) -> bytes:
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value


def _without_pixels(index: int) -> tuple[Dataset, bytes]:
    dataset = make_slice(ramp(index), (0, 0, 100 - index), index + 1)
    pixels = bytes(dataset.PixelData)
    del dataset.PixelData
    return dataset, pixels


def _implicit_pixels(pixels: bytes) -> bytes:
    return struct.pack("<HHL", 0x7FE0, 0x10, len(pixels)) + pixels


def _one_group_implicit(dataset: Dataset, pixels: bytes) -> bytes:
    image = Dataset({key: value for key, value in dataset.items() if key.group == 0x28})
    rest = Dataset({key: value for key, value in dataset.items() if key.group < 0x28})
    end = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, len(pixels)) + pixels
    return _written(rest, implicit=False) + _written(image, implicit=True) + end


OTHERWISE_ENCODED: dict[str, Callable[[Dataset, bytes], bytes]] = {
    "implicit throughout, called explicit": lambda dataset, pixels: (
        _meta(ExplicitVRLittleEndian) + _written(dataset, True) + _implicit_pixels(pixels)
    ),
    "explicit throughout, called implicit": lambda dataset, pixels: (
        _meta(ImplicitVRLittleEndian)
        + _written(dataset, False)
        + struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, len(pixels))
        + pixels
    ),
    "the pixel element alone implicit": lambda dataset, pixels: (
        _meta(ExplicitVRLittleEndian) + _written(dataset, False) + _implicit_pixels(pixels)
    ),
    "one group implicit": lambda dataset, pixels: _meta(ExplicitVRLittleEndian) + _one_group_implicit(dataset, pixels),
}


@pytest.mark.parametrize("how", OTHERWISE_ENCODED)
def test_elements_encoded_otherwise_than_the_meta_header_says_are_read(tmp_path, how) -> None:
    """As pydicom does, and (but for the second) GDCM."""
    for index in range(6):
        (tmp_path / f"{index}").write_bytes(OTHERWISE_ENCODED[how](*_without_pixels(index)))
    study = read_study(tmp_path, VolumeSettings(z_step=1, half_size=4))
    assert study.full[:, 0, 0].tolist() == PLAIN
    assert study.facts.notes == ()
