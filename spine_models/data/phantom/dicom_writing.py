"""CT objects: one valid file a slice, as a scanner's archive would hold them.

Type 1 and 2 attributes of the CT Image IOD (PS3.3 A.3) are there; names and dates are made up and never change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage

from spine_models.data.phantom.encoding import PADDING_HU, Encoding, Stored, encoder, stored_values

DATE, TIME = "20220701", "120000"
IMPLEMENTATION_UID = "2.25.216393062480617131917093273226353517862"
AXIAL: tuple[float, ...] = (1, 0, 0, 0, 1, 0)
SAGITTAL: tuple[float, ...] = (0, 1, 0, 0, 0, -1)


@dataclass(frozen=True)
class Series:
    """One series to write.

    Attributes:
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        frame: FrameOfReferenceUID.
        patient: PatientID, also the made-up name.
        hu: int16 (slice, row, column), in the order of the slices.
        positions: ImagePositionPatient of each slice (x, y, z; mm).
        orientation: ImageOrientationPatient.
        spacing: PixelSpacing (row, column; mm).
        step: distance of neighbouring slices (mm).
        encoding: how to store the pixels.
        pixels: whether to store them at all.
    """

    study: str
    series: str
    frame: str
    patient: str
    hu: NDArray[np.int16]
    positions: list[tuple[float, float, float]]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    step: float
    encoding: Encoding
    pixels: bool = True


def file_numbers(count: int, encoding: Encoding) -> list[int]:
    """Return the number of each slice's file, slices from superior to inferior."""
    numbers = [encoding.first_number + place for place in range(count)]
    return numbers[::-1] if encoding.rising else numbers


def write_series(folder: Path, series: Series) -> list[Path]:
    """Write one file a slice, ``<number>.dcm``.

    Returns:
        the files in the order of the slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = stored_values(series.hu, series.encoding.style)
    compress = encoder(series.encoding.syntax, series.encoding.style.bits_stored)
    dataset = _header(series)
    paths = []
    for place, number in enumerate(file_numbers(len(stored), series.encoding)):
        uid = f"{series.series}.{number}"
        dataset.SOPInstanceUID = uid
        dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = [_decimal(value) for value in series.positions[place]]
        dataset.SliceLocation = _decimal(series.positions[place][2])
        if series.pixels:
            _set_pixels(dataset, stored[place], compress)
        path = folder / f"{number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _set_pixels(dataset: Dataset, pixels: Stored, compress: Any) -> None:
    if compress is None:
        dataset.PixelData = pixels.tobytes()
    else:
        dataset.PixelData = encapsulate([compress(np.ascontiguousarray(pixels))])
        dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OW"


def _header(series: Series) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = series.encoding.syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "SPINE_PHANTOM"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in (_identity(series) | _geometry(series) | _pixel_module(series)).items():
        setattr(dataset, name, value)
    return dataset


def _identity(series: Series) -> dict[str, Any]:
    return {
        "SOPClassUID": CTImageStorage,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyDate": DATE,
        "SeriesDate": DATE,
        "AcquisitionDate": DATE,
        "ContentDate": DATE,
        "StudyTime": TIME,
        "SeriesTime": TIME,
        "AcquisitionTime": TIME,
        "ContentTime": TIME,
        "AccessionNumber": "",
        "Modality": "CT",
        "Manufacturer": "Phantom",
        "ManufacturerModelName": "Computed neck phantom",
        "ReferringPhysicianName": "",
        "StudyDescription": "Cervical spine phantom",
        "SeriesDescription": "Bone",
        "PatientName": f"Phantom^{series.patient}",
        "PatientID": series.patient,
        "PatientBirthDate": "",
        "PatientSex": "O",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "Computed; there is no patient",
        "BodyPartExamined": "CSPINE",
        "StudyInstanceUID": series.study,
        "SeriesInstanceUID": series.series,
        "FrameOfReferenceUID": series.frame,
        "PositionReferenceIndicator": "",
        "StudyID": "1",
        "SeriesNumber": 2,
        "AcquisitionNumber": 1,
    }


def _geometry(series: Series) -> dict[str, Any]:
    return {
        "KVP": "120",
        "SliceThickness": _decimal(series.step * series.encoding.thickness),
        "ConvolutionKernel": "BONE",
        "PatientPosition": "HFS",
        "ImageOrientationPatient": [_decimal(value) for value in series.orientation],
        "PixelSpacing": [_decimal(value) for value in series.spacing],
    }


def _pixel_module(series: Series) -> dict[str, Any]:
    style = series.encoding.style
    module = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": series.hu.shape[1],
        "Columns": series.hu.shape[2],
        "BitsAllocated": 16,
        "BitsStored": style.bits_stored,
        "HighBit": style.bits_stored - 1,
        "PixelRepresentation": int(style.signed),
        "WindowCenter": "500",
        "WindowWidth": "2500",
        "RescaleIntercept": _decimal(style.intercept),
        "RescaleSlope": _decimal(style.slope),
        "RescaleType": "HU",
    }
    if style.padded:
        module["PixelPaddingValue"] = int((PADDING_HU - style.intercept) / style.slope)
    return module


def _decimal(value: float) -> str:
    """Write a number as a DICOM decimal string (at most 16 characters, PS3.5 6.2)."""
    return f"{round(float(value), 6):.10g}"
