"""Files against independent readers: pydicom with its decoders, and dciodvfy where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from spine_models.data.phantom.dicom_writing import AXIAL, Series, write_series
from spine_models.data.phantom.encoding import PADDING_HU, STYLES, Encoding, PixelStyle, outside_field
from tests.data.phantom.conftest import Tiny

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
]


def series(encoding: Encoding, slices: int = 3) -> Series:
    hu = np.random.default_rng(1).integers(-1024, 3072, (slices, 40, 43)).astype(np.int16)
    positions = [(-10.5, 3.25, 100.0 - 2.5 * place) for place in range(slices)]
    return Series("2.25.1", "2.25.2", "2.25.3", "X", hu, positions, AXIAL, (0.5, 0.625), 2.5, encoding)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_encoding_gives_back_the_hounsfield_units(tmp_path: Path, syntax: str, style: PixelStyle) -> None:
    written = series(Encoding(syntax, style, rising=False, first_number=1, thickness=1.0, extra_columns=0))
    expected = written.hu.astype(float)
    if style.padded:
        expected[:, outside_field(40, 43)] = PADDING_HU
    for place, path in enumerate(write_series(tmp_path, written)):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == syntax
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert np.array_equal(hu, expected[place])
        assert dataset.ImagePositionPatient == list(written.positions[place])
        if style.padded:
            padding = dataset.PixelPaddingValue * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            assert padding == PADDING_HU


@pytest.mark.parametrize("rising", [False, True])
def test_numbers_fall_or_rise_along_z_and_start_anywhere(tmp_path: Path, rising: bool) -> None:
    encoding = Encoding(ExplicitVRLittleEndian, STYLES[0], rising, first_number=59, thickness=2.0, extra_columns=0)
    paths = write_series(tmp_path, series(encoding))
    assert [path.name for path in paths] == [f"{n}.dcm" for n in ((61, 60, 59) if rising else (59, 60, 61))]
    heights = [pydicom.dcmread(path).ImagePositionPatient[2] for path in paths]
    assert heights == [100.0, 97.5, 95.0]
    first = pydicom.dcmread(paths[0])
    assert first.InstanceNumber == int(paths[0].stem)
    assert first.SliceThickness == 5.0
    assert first.SOPInstanceUID == first.file_meta.MediaStorageSOPInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(tiny: Tiny) -> None:
    """One slice of each usable study and of each damaged one that still holds files.

    The named exceptions are the defects that consist in an invalid file: ``no_pixels`` lacks PixelData on purpose;
    in ``truncated`` the slice looked at is an intact one.
    """
    checked = 0
    for study, facts in tiny.summary["studies"].items():
        images = tiny.root / ("test_images" if facts["split"] == "test" else "train_images") / study
        paths = sorted(images.glob("*.dcm"))
        if not paths:
            continue
        report = subprocess.run(["dciodvfy", paths[0]], capture_output=True, text=True, check=False)
        errors = [line for line in (report.stdout + report.stderr).splitlines() if line.startswith(("Error", "Abort"))]
        if facts.get("defect", {}).get("kind") == "no_pixels":
            errors = [line for line in errors if "PixelData" not in line]
        assert not errors, (study, facts["encoding"])
        checked += 1
    assert checked == 18
