"""Which files of a study's folder are the volume: one axial CT stack; what is left out is named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.file import FileTooLargeError, NotDicomError, UnreadableFileError
from spine_models.data.dicom.geometry import CURVED, geometry_problem, is_axial
from spine_models.data.dicom.headers import SliceHeader, read_headers
from spine_models.data.dicom.passes import identity, repeats_of, split_passes, taken_order

_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LOCALIZER_TYPES = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "TOPO", "SURVIEW"))
_SCREEN_TYPES = frozenset(("SCREEN SAVE", "SCREENSAVE", "DOSE", "DOSE INFO", "DOSE_INFO", "REPORT"))
_PROJECTION_TYPES = frozenset(("PROJECTION IMAGE", "MIP", "MINIP", "MAXIMUM_IP", "MINIMUM_IP"))
_NOT_HU = frozenset(("OD", "MGML", "Z_EFF", "ED", "EDW", "HGML", "PCT"))  # DICOM PS3.3 C.11.1.1.2
_TURN_DEGREES = 10.0
"""Largest turn from one slice to the next within a stack."""
_MOST = 0.75
"""Part of a stack that has one orientation from which on the rest does not belong to it."""
_SAME_SPACING = 1e-3
"""Relative difference of pixel spacings that are the same."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is not part of the volume, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Selection:
    """The slices of the volume.

    Attributes:
        headers: one slice a position, in no particular order.
        repeats: slices at the positions of others, with the index of their twin in ``headers``.
        left_out: every other file.
        notes: sentences on everything out of the ordinary.
        told_apart: see ``passes.Split``.
    """

    headers: list[SliceHeader]
    repeats: list[tuple[int, SliceHeader]]
    left_out: list[LeftOut]
    notes: list[str]
    told_apart: bool


def read_folder(folder: Path, files: Sequence[StudyFile]) -> tuple[list[SliceHeader], list[LeftOut]]:
    """Read the headers of a study's files; what is no image or no CT is set aside."""
    headers: list[SliceHeader] = []
    aside: list[LeftOut] = []
    for file in files:
        try:
            found = read_headers(folder, file)
        except NotDicomError:
            aside.append(LeftOut(file.name, "not DICOM"))
        except FileTooLargeError:
            aside.append(LeftOut(file.name, "too large"))
        except UnreadableFileError:
            aside.append(LeftOut(file.name, "damaged"))
        else:
            why = aside_because(found[0])
            if why is None:
                headers += found
            else:
                aside.append(LeftOut(file.name, why))
    return headers, aside


def aside_because(header: SliceHeader) -> str | None:
    """Say why an object is no CT slice, None if it may be one; a tag that is absent is no reason."""
    types = frozenset(header.image_type)
    no_pixels = header.pixel_offset is None and not header.float_pixels
    other_class = header.sop_class.startswith(_STORAGE) and header.sop_class not in _CT_CLASSES
    # ConversionType belongs to secondary captures, but is found in genuine CT objects too: the SOP class counts.
    captured = header.sop_class.startswith(_SECONDARY_CAPTURE) or bool(header.conversion and not header.sop_class)
    reasons = (
        ("no image", header.rows == 0 or header.columns == 0 or no_pixels),
        ("secondary capture", captured or bool(types & _SCREEN_TYPES)),
        ("other modality", other_class or header.modality not in ("", "CT")),
        ("colour", header.samples > 1 or header.photometric not in ("", "MONOCHROME1", "MONOCHROME2")),
        ("localizer", bool(types & _LOCALIZER_TYPES)),
        ("projection", bool(types & _PROJECTION_TYPES)),
        ("not Hounsfield units", header.rescale_type in _NOT_HU),
    )
    return next((why for why, holds in reasons if holds), None)


def select(headers: Sequence[SliceHeader], aside: Sequence[LeftOut]) -> Selection:
    """Choose the axial stack with the most slices.

    Raises:
        StudyRefused: ``no_images``, ``no_ct``, ``geometry_missing``, ``geometry_invalid``, ``spacing_invalid``,
            ``not_axial`` or ``too_few_slices``.
    """
    if not headers:
        raise _nothing_left(aside)
    placed, unplaced, problem = _placed(headers)
    if not placed:
        raise problem
    stacks = [stack for group in _by_series(placed) for stack in _by_orientation(group)]
    axial = [stack for stack in stacks if is_axial(stack)]
    if not axial:
        raise StudyRefused(RefusalCode.NOT_AXIAL, "no stack of slices lies within 45 degrees of the axial plane")
    splits = [split_passes(stack) for stack in axial]
    candidates = [(stack, split.told_apart) for split in splits for stack in split.passes]
    best, told_apart = min(candidates, key=lambda candidate: _preference(candidate[0]))
    if len(best) < 2:
        raise StudyRefused(RefusalCode.TOO_FEW_SLICES, "no series has more than one axial slice, which is no volume")
    repeats = repeats_of(best, axial)
    used = {(header.name, header.frame) for header in best}
    rest = [
        LeftOut(h.name, "not axial" if not is_axial([h]) else "other series") for h in placed if identity(h) not in used
    ]
    left_out = sorted({*aside, *unplaced, *rest}, key=lambda item: (item.name, item.why))
    return Selection(best, repeats, left_out, _notes(best, left_out, repeats), told_apart)


def _nothing_left(aside: Sequence[LeftOut]) -> StudyRefused:
    counts = Counter(item.why for item in aside)
    named = ", ".join(f"{count} {why}" for why, count in sorted(counts.items())) or "no files"
    images = any(why not in ("not DICOM", "damaged", "no image", "too large") for why in counts)
    code = RefusalCode.NO_CT if images else RefusalCode.NO_IMAGES
    if set(counts) == {"too large"}:
        code = RefusalCode.TOO_LARGE
    return StudyRefused(code, f"no CT slice in the folder: {named}")


def _placed(headers: Sequence[SliceHeader]) -> tuple[list[SliceHeader], list[LeftOut], StudyRefused]:
    placed: list[SliceHeader] = []
    unplaced: list[LeftOut] = []
    refusal = StudyRefused(RefusalCode.GEOMETRY_MISSING, "no slice has a position")
    for header in headers:
        problem = geometry_problem(header)
        if problem is None:
            placed.append(header)
        else:
            unplaced.append(LeftOut(header.name, "no usable position or spacing"))
            refusal = StudyRefused(*problem)
    return placed, unplaced, refusal


def _by_series(headers: Iterable[SliceHeader]) -> list[list[SliceHeader]]:
    groups: dict[tuple[object, ...], list[SliceHeader]] = defaultdict(list)
    for header in headers:
        whose = (header.study_uid, header.patient_id, header.series_uid, header.frame_of_reference)
        groups[(*whose, header.rows, header.columns)].append(header)
    return list(groups.values())


def _by_orientation(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Split a series where orientation or spacing jump; a curved reformat, which turns slowly, stays together."""
    stacks: list[list[SliceHeader]] = []
    for header in sorted(headers, key=taken_order):
        stack = next((stack for stack in stacks if _continues(stack[-1], header)), None)
        if stack is None:
            stacks.append([header])
        else:
            stack.append(header)
    return [part for stack in stacks for part in _without_strangers(stack)]


def _without_strangers(stack: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Take slices out of a stack of one orientation that have another: damage, or a slice of a neighbouring stack.

    In a curved reformat there is no orientation that most slices have, and it stays whole.
    """
    if all(header.orientation == stack[0].orientation for header in stack):
        return [stack]
    axes = np.array([header.orientation for header in stack], dtype=np.float64)
    usual = np.abs(axes - np.median(axes, axis=0)).max(axis=1) <= CURVED
    if not _MOST <= usual.mean() < 1:
        return [stack]
    own = [header for header, is_usual in zip(stack, usual, strict=True) if is_usual]
    return [own, [header for header, is_usual in zip(stack, usual, strict=True) if not is_usual]]


def _continues(before: SliceHeader, header: SliceHeader) -> bool:
    if before.orientation == header.orientation and before.spacing == header.spacing:
        return True
    axes = np.array([before.orientation, header.orientation], dtype=np.float64).reshape(2, 2, 3)
    spacing = np.array([before.spacing, header.spacing], dtype=np.float64)
    turned = (axes[0] * axes[1]).sum(axis=1).min() < np.cos(np.radians(_TURN_DEGREES))
    return not turned and bool(np.ptp(np.log(spacing), axis=0).max() <= _SAME_SPACING)


def _preference(stack: Sequence[SliceHeader]) -> tuple[object, ...]:
    """Most slices first; ties by series number, first instance number, UIDs, positions and names."""
    first = min(stack, key=taken_order)
    number = float("inf") if first.series_number is None else first.series_number
    return (
        -len(stack),
        number,
        taken_order(first)[0],
        first.series_uid,
        first.sop_instance,
        first.position,
        first.name,
    )


def _notes(
    best: Sequence[SliceHeader], left_out: Sequence[LeftOut], repeats: Sequence[tuple[int, SliceHeader]]
) -> list[str]:
    repeated = {header.name for _, header in repeats}
    counts = Counter(item.why for item in left_out if item.name not in repeated)
    notes = [f"{count} files left out: {why}" for why, count in sorted(counts.items())]
    if any(header.photometric == "MONOCHROME1" for header in best):
        notes.append("MONOCHROME1: the display is inverted, Hounsfield units are not")
    return notes
