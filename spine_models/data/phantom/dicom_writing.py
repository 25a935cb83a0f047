"""CT objects: one valid file a slice, as a scanner's archive would hold them.

Type 1 and 2 attributes of the CT Image IOD (PS3.3 A.3) are there; names and dates are made up and never change.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

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
    compress = encoder(series.encoding.syntax, series.encoding.style.bits_stored)
    implicit = series.encoding.syntax == ImplicitVRLittleEndian
    constant = _encoded(_constant_header(series), implicit)
    constant_meta = _encoded(_constant_meta(series), implicit=False)
    paths = []
    for place, number in enumerate(file_numbers(len(series.hu), series.encoding)):
        uid = f"{series.series}.{number}"
        slice_header = _slice_header(uid, number, series.positions[place])
        if series.pixels:
            _set_pixels(slice_header, stored_values(series.hu[place], series.encoding.style), compress)
        elements = constant | _encoded(slice_header, implicit)
        path = folder / f"{number}.dcm"
        path.write_bytes(_file_start(uid, constant_meta) + b"".join(elements[tag] for tag in sorted(elements)))
        paths.append(path)
    return paths


def _encoded(header: Dataset, implicit: bool) -> dict[int, bytes]:
    """Return the bytes of each element by its tag; what is equal in all slices of a series is encoded once."""
    elements = {}
    for element in header:
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, implicit
        write_data_element(stream, element)
        elements[int(element.tag)] = stream.getvalue()
    return elements


def _constant_meta(series: Series) -> Dataset:
    meta = Dataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = series.encoding.syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "SPINE_PHANTOM"
    return meta


def _file_start(uid: str, constant: dict[int, bytes]) -> bytes:
    """Return preamble, prefix and file meta information, which is always explicit little endian (PS3.10 7.1)."""
    meta = Dataset()
    meta.MediaStorageSOPInstanceUID = uid
    elements = constant | _encoded(meta, implicit=False)
    group = b"".join(elements[tag] for tag in sorted(elements))
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(group)) + group


def _slice_header(uid: str, number: int, position: tuple[float, float, float]) -> Dataset:
    header = Dataset()
    header.SOPInstanceUID = uid
    header.InstanceNumber = number
    header.ImagePositionPatient = [_decimal(value) for value in position]
    header.SliceLocation = _decimal(position[2])
    return header


def _set_pixels(header: Dataset, pixels: Stored, compress: Callable[[Stored], bytes] | None) -> None:
    if compress is None:
        header.add_new("PixelData", "OW", pixels.tobytes())
    else:
        header.add_new("PixelData", "OW", encapsulate([compress(pixels)]))
        header["PixelData"].is_undefined_length = True


def _constant_header(series: Series) -> Dataset:
    header = Dataset()
    for name, value in (_identity(series) | _geometry(series) | _pixel_module(series)).items():
        setattr(header, name, value)
    if series.encoding.style.padded:
        style = series.encoding.style
        padding = int((PADDING_HU - style.intercept) / style.slope)
        header.add_new("PixelPaddingValue", "SS" if style.signed else "US", padding)
    return header


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
    return {
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


def _decimal(value: float) -> str:
    """Write a number as a DICOM decimal string (at most 16 characters, PS3.5 6.2)."""
    return f"{round(float(value), 6):.10g}"
