"""A small study with damaged files: refused with a code, or equal to what plain pydicom reads in the same bytes."""

from __future__ import annotations

import random
import struct
import tempfile
import warnings
from collections.abc import Sequence as SequenceOf
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from spine_models.data.dataset.layout import IMAGES
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.pixels import read_hounsfield
from spine_models.data.dicom.study import StudySource, StudyVolume, VolumeSettings, decode_study, open_study
from spine_models.data.labels.nifti import LabelSettings
from spine_models.data.stages.check_dataset import check_study
from tests.data.dicom_builder import NINE_LOSSLESS, STUDY, encoded, enhanced, make_slice
from tests.fuzz.mutations import damage_bytes, damage_tags

SETTINGS = VolumeSettings(z_step=1, half_size=32)
SLICES = 4


ENHANCED, PASSES, PASSES_IN_FRAMES = range(len(NINE_LOSSLESS), len(NINE_LOSSLESS) + 3)
"""Kinds of studies beside those in the nine lossless syntaxes."""


@cache
def originals(kind: int, signed: bool) -> tuple[bytes, ...]:
    """Files of an undamaged study: single ones or an enhanced object, of one pass or of two over the same positions."""
    passes = 2 if kind in (PASSES, PASSES_IN_FRAMES) else 1
    anatomy = np.random.default_rng(kind).integers(-1000, 1000, (passes * SLICES, 66, 64)).astype("<i2")
    anatomy[:, 10:50, 10:50] //= 50
    stored = anatomy if signed else (anatomy + 1024).astype("<u2")
    tags: dict[str, Any] = {"Modality": "CT", "SeriesInstanceUID": "1.2.3"}
    if not signed:
        tags |= {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": -1024}
    if kind in (ENHANCED, PASSES_IN_FRAMES):
        tags.pop("RescaleIntercept", None)
        dataset = enhanced(stored, **tags)
        if kind == PASSES_IN_FRAMES:
            _tell_apart(dataset)
        return (encoded(dataset),)
    return tuple(
        encoded(
            make_slice(stored[i], (-20, -30, 90 - 2 * (i % SLICES)), i + 1, **tags, **_acquisition(kind, i)),
            NINE_LOSSLESS[kind % len(NINE_LOSSLESS)],
        )
        for i in range(passes * SLICES)
    )


def _acquisition(kind: int, index: int) -> dict[str, int]:
    return {"AcquisitionNumber": 1 + index // SLICES} if kind == PASSES else {}


def _tell_apart(dataset: Dataset) -> None:
    """Give the frames of an enhanced object an acquisition each pass, and both passes the same positions."""
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.FrameAcquisitionNumber = 1 + index // SLICES
        group.FrameContentSequence = Sequence([content])
        group.PlanePositionSequence[0].ImagePositionPatient = [0.0, 0.0, 100.0 - index % SLICES]


def run_case(rng: random.Random) -> str:
    """Damage a study, check it and read it; return "equal" or "refused: code".

    Raises:
        AssertionError: if it was read, and plain pydicom reads something else; if the check of the headers foresees
            another end.
    """
    undamaged = originals(rng.randrange(PASSES_IN_FRAMES + 1), rng.random() < 0.5)
    files = list(undamaged)
    for index in rng.sample(range(len(files)), rng.randint(1, len(files))):
        files[index] = rng.choice((damage_bytes, damage_tags))(rng, files[index])
    if rng.random() < 0.2:
        rng.shuffle(files)
    if rng.random() < 0.1:
        files.append(rng.choice(files))
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = Path(name)
        folder = dataset / IMAGES / STUDY
        folder.mkdir(parents=True)
        for index, data in enumerate(files):
            (folder / f"{index}.dcm").write_bytes(data)
        foreseen = [code for _, code, _ in check_study(dataset, STUDY, LabelSettings()).refused]
        try:
            source = open_study(folder, folder, SETTINGS)
            study = decode_study(source, SETTINGS)
        except StudyRefused as refusal:
            assert foreseen in ([], [refusal.code.value]), f"the check foresees {foreseen}, it is {refusal.code.value}"
            return f"refused: {refusal.code.value}"
        assert not foreseen, f"the check foresees {foreseen[0]}, but the study is read"
        compare(source, study, undamaged)
    return "equal"


def compare(source: StudySource, study: StudyVolume, undamaged: tuple[bytes, ...]) -> None:
    """Compare a volume with plain pydicom's reading of the files that it was made from.

    Where pydicom cannot read a file that was read here, it gets an undamaged meta header.
    """
    grid = source.grid
    _require_one_pass(grid.headers)
    decoded = [_reference(source.folder, header, undamaged) for header in grid.headers]
    assert study.full.shape == grid.shape
    affine = np.array(study.facts.affine_lps)
    assert affine[2, 0] < 0
    for index, plane in enumerate(grid.slices):
        if plane.weight == 0:
            _compare_plane(study.full[index], affine @ np.array([index, 0, 0, 1]), affine, decoded[plane.upper])
        else:
            low, high = sorted((plane.upper, plane.lower))
            values = [np.sort(decoded[i][0].ravel())[[0, -1]] for i in (low, high)]
            assert min(v[0] for v in values) - 1 <= study.full[index].min()
            assert study.full[index].max() <= max(v[1] for v in values) + 1


def _require_one_pass(headers: SequenceOf[SliceHeader]) -> None:
    """Slices that say of which acquisition they are come in the order of acquisitions, and do not alternate."""
    told = [header.acquisition for header in headers if header.acquisition is not None]
    changes = sum(one != other for one, other in pairwise(told))
    assert changes == max(0, len(set(told)) - 1), f"slices of several passes are mixed: {told}"


def _reference(folder: Path, header: SliceHeader, undamaged: tuple[bytes, ...]) -> tuple[Any, ...]:
    try:
        return reference_slice(folder / header.name, header)
    except Exception:
        hounsfield = read_hounsfield(folder, header)
        damaged = (folder / header.name).read_bytes()
        for index, data in enumerate(undamaged):
            # The meta header says little but the transfer syntax, and pydicom gives up on much that does not matter.
            meta_end = 144 + int.from_bytes(data[140:144], "little")
            path = folder / f"with an undamaged meta header {index}"
            first_element = data[meta_end : meta_end + 4]
            path.write_bytes(data[:meta_end] + damaged[max(0, damaged.find(first_element)) :])
            reference = reference_slice(path, header)
            if np.mean(reference[0] != hounsfield) < 0.01 and np.array_equal(reference[1], header.position):
                return reference
        raise


def _compare_plane(plane: np.ndarray, corner: np.ndarray, affine: np.ndarray, reference: tuple[Any, ...]) -> None:
    """Every voxel's position, by the affine, is that of a pixel with its value, by the file's own tags."""
    hounsfield, position, row, column, spacing = reference
    y, x = np.indices(plane.shape)
    offset = corner[:3] - position + y[..., None] * affine[:3, 1] + x[..., None] * affine[:3, 2]
    step = np.abs(offset @ np.cross(row, column)).max()
    assert step < 0.3 * abs(affine[:3, 0] @ np.cross(row, column)) + 0.02, "a plane is where no slice is"
    at_row, at_column = (offset @ column) / spacing[0], (offset @ row) / spacing[1]
    slack = 0.25 + 0.02 * max(plane.shape)
    assert np.abs(at_row - np.rint(at_row)).max() < slack
    rows = np.clip(np.rint(at_row), 0, hounsfield.shape[0] - 1).astype(int)
    columns = np.clip(np.rint(at_column), 0, hounsfield.shape[1] - 1).astype(int)
    matches = hounsfield[rows, columns] == plane
    assert matches.mean() > 0.98, f"{(~matches).mean():.1%} of a slice's values differ from plain pydicom's"


def reference_slice(path: Path, header: SliceHeader) -> tuple[Any, ...]:
    """HU, position, row and column directions and spacing, as plain pydicom reads them."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = header.transfer_syntax
    frame = _Groups(dataset, header.frame)
    stored = _stored(dataset, header.frame)
    hounsfield = stored * float(frame.get("RescaleSlope")) + float(frame.get("RescaleIntercept"))
    hounsfield = np.clip(np.rint(hounsfield), -32768, 32767)
    if dataset.get("PixelPaddingValue") is not None:
        bounds = sorted(
            (int(dataset.PixelPaddingValue), int(dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)))
        )
        hounsfield[(stored >= bounds[0]) & (stored <= bounds[1])] = -1000
    orientation = np.array([float(value) for value in frame.get("ImageOrientationPatient")])
    position = np.array([float(value) for value in frame.get("ImagePositionPatient")])
    spacing = [float(value) for value in frame.get("PixelSpacing")]
    return hounsfield, position, orientation[:3], orientation[3:], spacing


_GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)


class _Groups:
    """A tag of a frame: in its own functional groups, the shared ones, or the data set itself."""

    def __init__(self, dataset: pydicom.Dataset, frame: int) -> None:
        own = dataset.get("PerFrameFunctionalGroupsSequence")
        shared = dataset.get("SharedFunctionalGroupsSequence")
        self.places = [*([own[frame]] if own else []), *(list(shared)[:1] if shared else [])]
        self.dataset = dataset

    def get(self, keyword: str) -> Any:
        for place in self.places:
            for group in _GROUPS:
                if group in place and place[group].value and keyword in place[group].value[0]:
                    return place[group].value[0][keyword].value
        return self.dataset[keyword].value


def _stored(dataset: pydicom.Dataset, frame: int) -> np.ndarray:
    """Stored values; the bits that count are cut out one value at a time, as PS3.5 section 8.1.1 describes them."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax not in (DeflatedExplicitVRLittleEndian, RLELossless):
        # Not GDCM, pydicom's first choice: it ends the process on some damaged codestreams.
        pixels = pixel_array(dataset, decoding_plugin="pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg")
        return (pixels[frame] if pixels.ndim == 3 else pixels).astype(np.float64)
    size = dataset.BitsAllocated // 8
    count = dataset.Rows * dataset.Columns
    order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    if syntax == RLELossless:
        coded = get_frame(dataset.PixelData, frame, number_of_frames=1)
        pixels = _run_length(coded, size, count)
    else:
        pixels = dataset.PixelData[frame * count * size :][: count * size]
    raw = np.frombuffer(pixels, f"{order}u{size}").astype(np.int64)
    stored, high = int(dataset.BitsStored), int(dataset.get("HighBit", dataset.BitsStored - 1))
    values = (raw >> (high + 1 - stored)) & ((1 << stored) - 1)
    if dataset.get("PixelRepresentation", 0) == 1:
        values = np.where(values >= 1 << (stored - 1), values - (1 << stored), values)
    return values.reshape(dataset.Rows, dataset.Columns).astype(np.float64)


def _run_length(coded: bytes, size: int, count: int) -> bytes:
    """PS3.5 annex G.3.2, byte by byte; the first segment holds the most significant bytes."""
    offsets = [*struct.unpack_from("<15L", coded, 4)[:size], len(coded)]
    planes = []
    for start, end in pairwise(offsets):
        plane, at = bytearray(), start
        while at < end and len(plane) < count:
            n = coded[at]
            if n < 128:
                plane += coded[at + 1 : at + 2 + n]
                at += 2 + n
            elif n > 128:
                plane += coded[at + 1 : at + 2] * (257 - n)
                at += 2
            else:
                at += 1
        planes.append(np.frombuffer(bytes(plane[:count]), np.uint8))
    return np.stack(planes[::-1], axis=1).tobytes()
