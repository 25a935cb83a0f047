"""A mask as DICOM SEG over the original series: one binary segment a level, in the planes of the series' own slices."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from highdicom.seg import SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from spine_models.data.dataset.uids import is_uid
from spine_models.data.dicom.geometry import Grid, is_curved
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.identity import Identity
from spine_models.inference.original_slices import OriginalSlices
from spine_models.levels import LEVELS
from spine_models.provenance.canonical import digest_json
from spine_models.provenance.files import replacing

NAME = "spine_models"
_SERIES_NUMBER = 1000
"""Added to the number of the source series, where the sum is one that DICOM can hold (IS, PS3.5 6.2)."""
_LARGEST_NUMBER = 2**31 - 1
_NO_DATE, _NO_TIME = "19000101", "000000"
"""Where the study has none: an object has to say a date, and the day of the computation would make two runs differ."""
_VERTEBRAE = [getattr(codes.SCT, f"{level}Vertebra") for level in LEVELS]


@dataclass(frozen=True)
class SegSource:
    """Of what, by what and how an object is made.

    Attributes:
        identity: of the study.
        content_digest: of the study's files.
        bundle_digest: of the bundle that predicted.
        empty_frames: each level has a frame for each slice; False: only where the level is.
    """

    identity: Identity
    content_digest: str
    bundle_digest: str
    empty_frames: bool


def seg_refusal(headers: Sequence[SliceHeader]) -> str:
    """Say why no object can be made over a series, "" if one can."""
    if is_curved(headers):
        return "no DICOM SEG: the orientation changes from slice to slice"
    names = {"StudyInstanceUID": "study_uid", "SeriesInstanceUID": "series_uid", "SOPInstanceUID": "sop_instance"}
    lacking = [name for name, field in names.items() if not all(is_uid(getattr(h, field)) for h in headers)]
    if lacking:
        return f"no DICOM SEG: the slices have no valid {' and no valid '.join(lacking)} that it could refer to"
    if len({(header.sop_instance, header.frame) for header in headers}) < len(headers):
        return "no DICOM SEG: several slices have the same SOPInstanceUID"
    return ""


def write_seg(path: Path, slices: OriginalSlices, made: SegSource) -> None:
    """Write a mask, atomically; equal masks of equal studies give equal bytes.

    Segment ``i`` is level ``i`` of the mask, whether the mask shows it or not. What the challenge's headers lack is
    completed in memory.

    Args:
        path: the file.
        slices: the mask; ``seg_refusal`` of its headers is "".
        made: see there.
    """
    headers = slices.grid.headers
    masks = np.stack([slices.slice(index) for index in range(len(headers))])
    uids = _Uids(
        digest_json([made.content_digest, made.bundle_digest, made.empty_frames, _parts(made.identity)]), masks
    )
    sources = list(_sources(slices.grid, made.identity, uids))
    number = _SERIES_NUMBER + max(0, int(headers[0].series_number or 0))
    with warnings.catch_warnings():  # of texts that the source holds in a form that is not valid
        warnings.simplefilter("ignore")
        seg = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=masks,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=_descriptions(made.bundle_digest, uids),
            series_instance_uid=uids.new("series"),
            series_number=number if number <= _LARGEST_NUMBER else _SERIES_NUMBER,
            sop_instance_uid=uids.new("instance"),
            instance_number=1,
            manufacturer=NAME,
            manufacturer_model_name=NAME,
            software_versions=version(NAME),
            device_serial_number=made.bundle_digest,
            content_label="CERVICAL_SPINE",
            content_description="Vertebrae C1 to C7",
            series_description="Vertebrae C1 to C7",
            content_date=made.identity.date or _NO_DATE,
            content_time=made.identity.time or _NO_TIME,
            omit_empty_frames=not made.empty_frames,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            specific_character_set="ISO_IR 192",
        )
    _without_chance(seg, uids)
    _refer_to_frames(seg, {str(source.SOPInstanceUID): header for source, header in zip(sources, headers, strict=True)})
    if made.identity.lossy:
        keywords = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
        for keyword, value in zip(keywords, made.identity.lossy, strict=False):
            setattr(seg, keyword, value)
    with replacing(path) as temporary:
        seg.save_as(temporary)


class _Uids:
    """UIDs that are derived from digests: the same mask of the same study has the same ones."""

    def __init__(self, digest: str, masks: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        self._digest = hashlib.sha256(digest.encode() + hashlib.sha256(masks.tobytes()).digest())

    def new(self, what: str) -> str:
        """Return the UID of a part of the object: below 2.25, a number of 128 bits (PS3.5 B.2)."""
        digest = self._digest.copy()
        digest.update(what.encode())
        return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"


def _parts(identity: Identity) -> list[Any]:
    return [identity.patient_id, identity.name, identity.birth_date, identity.sex]


def _sources(grid: Grid, identity: Identity, uids: _Uids) -> Iterator[Dataset]:
    """Return each slice as a single-frame object of the kind that highdicom reads, complete, without pixels."""
    headers = grid.headers
    frames = {header.frame_of_reference for header in headers if is_uid(header.frame_of_reference)}
    frame_of_reference = next(iter(frames)) if len(frames) == 1 else uids.new("frame of reference")
    first = headers[0]
    for header in headers:
        slice_ = Dataset()
        slice_.SpecificCharacterSet = "ISO_IR 192"
        slice_.SOPClassUID = CTImageStorage
        slice_.SOPInstanceUID = header.sop_instance if header.frames == 1 else uids.new(f"{header.name} {header.frame}")
        slice_.Modality = "CT"
        slice_.PatientID, slice_.PatientName = identity.patient_id, identity.name
        slice_.PatientBirthDate, slice_.PatientSex = identity.birth_date, identity.sex
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = first.study_uid, header.series_uid
        slice_.StudyID, slice_.AccessionNumber = identity.study_id, identity.accession
        slice_.StudyDate, slice_.StudyTime = identity.date, identity.time
        slice_.ReferringPhysicianName = ""
        slice_.FrameOfReferenceUID, slice_.PositionReferenceIndicator = frame_of_reference, ""
        slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        slice_.Rows, slice_.Columns = header.rows, header.columns
        slice_.PixelSpacing = _decimals(first.spacing)
        slice_.ImageOrientationPatient = _decimals(first.orientation)
        slice_.ImagePositionPatient = _decimals(header.position)
        slice_.SliceThickness = format_number_as_ds(header.thickness or grid.spacing[0])
        yield slice_


def _decimals(values: Sequence[float] | None) -> list[str]:
    return [format_number_as_ds(float(value)) for value in values or ()]


def _descriptions(bundle_digest: str, uids: _Uids) -> list[SegmentDescription]:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=NAME,
        version=bundle_digest,
        family=codes.DCM.ArtificialIntelligence,
        source=f"{NAME} {version(NAME)}",
        parameters={"bundle": bundle_digest},
    )
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=level,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=vertebra,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_id=level,
            tracking_uid=uids.new(level),
        )
        for number, (level, vertebra) in enumerate(zip(LEVELS, _VERTEBRAE, strict=True), start=1)
    ]


def _without_chance(seg: Dataset, uids: _Uids) -> None:
    """Replace what highdicom takes from the clock and from chance, so that two runs give the same bytes."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        del seg[keyword]
    for item in seg.ContributingEquipmentSequence:
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    dimensions = uids.new("dimensions")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions


def _refer_to_frames(seg: Dataset, slices: dict[str, SliceHeader]) -> None:
    """Let references name the files: their own class, and of a multi-frame file the frame."""
    derivations = [d for g in seg.PerFrameFunctionalGroupsSequence for d in g.get("DerivationImageSequence", ())]
    # Frames of the same slice share one object.
    for item in {id(item): item for derivation in derivations for item in derivation.SourceImageSequence}.values():
        header = slices[item.ReferencedSOPInstanceUID]
        _name(item, header)
        if header.frames > 1:
            item.ReferencedFrameNumber = header.frame + 1
    # The images of the series: each file once, whatever the number of its frames that are used.
    series: dict[str, dict[str, Dataset]] = {}
    for header in slices.values():
        series.setdefault(header.series_uid, {})[header.sop_instance] = _name(Dataset(), header)
    seg.SourceImageSequence = [_name(Dataset(), header) for header in _one_a_file(slices)]
    referenced = []
    for uid, instances in series.items():
        whole = Dataset()
        whole.SeriesInstanceUID, whole.ReferencedInstanceSequence = uid, list(instances.values())
        referenced.append(whole)
    seg.ReferencedSeriesSequence = referenced


def _one_a_file(slices: dict[str, SliceHeader]) -> list[SliceHeader]:
    return list({header.sop_instance: header for header in slices.values()}.values())


def _name(item: Dataset, header: SliceHeader) -> Dataset:
    item.ReferencedSOPClassUID = header.sop_class if is_uid(header.sop_class) else CTImageStorage
    item.ReferencedSOPInstanceUID = header.sop_instance
    return item
