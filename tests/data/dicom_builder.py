"""Tiny DICOM files for tests: the tags of the challenge's files, and whatever a test adds, changes or removes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

STUDY = "1.2.826.0.1.3680043.271"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
NINE_LOSSLESS = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
)


def make_slice(stored: NDArray[Any], position: Iterable[float] = (0, 0, 0), instance: int = 1, **tags: Any) -> Dataset:
    """A slice with the tags of the challenge's files; ``tags`` replaces some by keyword, None removes one.

    ``stored`` has the dtype that decides BitsAllocated and PixelRepresentation.
    """
    dataset = Dataset()
    dataset.SOPInstanceUID = f"{STUDY}.1.{instance}"
    dataset.StudyInstanceUID = STUDY
    dataset.SeriesInstanceUID = f"{STUDY}.1"
    dataset.PatientName = "SECRET^NAME"
    dataset.PatientID = "271"
    dataset.PatientBirthDate = "19700101"
    dataset.InstanceNumber = instance
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.PixelSpacing = [0.5, 0.5]
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    dataset["PixelData"].VR = "OW" if stored.dtype.itemsize > 1 else "OB"
    return dataset


def encoded(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian, preamble: bool = True) -> bytes:
    """The bytes of a DICOM file in any of ``NINE_LOSSLESS``."""
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return _by_gdcm(encoded(dataset), syntax)
    dataset = FileDataset(None, dataset, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2")
    native = syntax in (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    )
    dataset.file_meta.TransferSyntaxUID = syntax if native else ExplicitVRLittleEndian
    if not native:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian and dataset.BitsAllocated > 8:
        size = dataset.BitsAllocated // 8
        dataset.PixelData = np.frombuffer(dataset.PixelData, f"<u{size}").astype(f">u{size}").tobytes()
    stream = io.BytesIO()
    if preamble:
        dcmwrite(stream, dataset, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.preamble = None
        dcmwrite(stream, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return stream.getvalue()


def _by_gdcm(data: bytes, syntax: UID) -> bytes:
    import tempfile

    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.dcm", f"{folder}/out.dcm"
        Path(source).write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(source)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(target)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return Path(target).read_bytes()


def ramp(index: int, shape: tuple[int, int] = (6, 5), dtype: str = "<i2") -> NDArray[Any]:
    """Pixels that say where they are: slice x 100 + row x 10 + column."""
    rows, columns = np.indices(shape)
    return (index * 100 + rows * 10 + columns).astype(dtype)


def write_stack(
    folder: Path,
    count: int = 6,
    step: tuple[float, float, float] = (0.0, 0.0, -1.0),
    start: tuple[float, float, float] = (-10.0, -20.0, 100.0),
    name: Callable[[int], str] = "{}.dcm".format,
    pixels: Callable[[int], NDArray[Any]] = ramp,
    syntax: UID = ExplicitVRLittleEndian,
    **tags: Any,
) -> list[Dataset]:
    """Write slices 0 to ``count - 1``, slice i at ``start + i x step``; callables among ``tags`` get the index."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = []
    for index in range(count):
        position = np.array(start) + index * np.array(step)
        own = {key: value(index) if callable(value) else value for key, value in tags.items()}
        dataset = make_slice(pixels(index), position, own.pop("instance", index + 1), **own)
        (folder / name(index)).write_bytes(encoded(dataset, syntax))
        slices.append(dataset)
    return slices


def enhanced(frames: NDArray[Any], step: float = -1.0, **tags: Any) -> Dataset:
    """An enhanced multi-frame CT object whose frames are stored in a mixed order of positions."""
    dataset = make_slice(frames, ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None,
                         RescaleIntercept=None, RescaleSlope=None, **tags)  # fmt: skip
    dataset.NumberOfFrames = len(frames)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=list(AXIAL))
    shared.PixelMeasuresSequence = _item(PixelSpacing=[0.5, 0.5])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index in range(len(frames)):
        group = Dataset()
        place = (index * 3) % len(frames)
        group.PlanePositionSequence = _item(ImagePositionPatient=[0.0, 0.0, 100.0 + place * step])
        group.PixelValueTransformationSequence = _item(RescaleIntercept=-1000 - place, RescaleSlope=1)
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return dataset


def _item(**tags: Any) -> Sequence:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return Sequence([item])
