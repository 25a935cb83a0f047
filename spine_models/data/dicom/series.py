"""Which files of a study's folder are the volume: one axial CT stack; what is left out is named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.file import (
    ArchiveError,
    FileTooLargeError,
    FramesMismatchError,
    NotDicomError,
    UnreadableFileError,
)
from spine_models.data.dicom.geometry import CURVED, geometry_problem, is_axial
from spine_models.data.dicom.headers import SliceHeader, read_headers
from spine_models.data.dicom.passes import Pass, identity, repeats_of, split_passes, taken_order
from spine_models.data.dicom.patients import known_patient

_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LOCALIZER_TYPES = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "TOPO", "SURVIEW"))
_SCREEN_TYPES = frozenset(("SCREEN SAVE", "SCREENSAVE", "DOSE", "DOSE INFO", "DOSE_INFO", "REPORT"))
_PROJECTION_TYPES = frozenset(("PROJECTION IMAGE", "MIP", "MINIP", "MAXIMUM_IP", "MINIMUM_IP"))
_NOT_HU = frozenset(("OD", "MGML", "Z_EFF", "ED", "EDW", "HGML", "PCT"))  # DICOM PS3.3 C.11.1.1.2
ARCHIVE = "archive"
SEVERAL_PATIENTS = "the study has slices of several patients (PatientID): put each patient's into a study of its own"
_UNREADABLE = {
    NotDicomError: "not DICOM",
    FileTooLargeError: "too large",
    FramesMismatchError: "damaged (frames and their descriptions differ in number)",
    ArchiveError: ARCHIVE,
}
_TURN_DEGREES = 10.0
"""Largest turn from one slice to the next within a stack."""
_MOST = 0.75
"""Part of a stack that has one orientation from which on the rest does not belong to it."""
_FEW = 3
"""Slices from which on a series UID for each of them is no series."""
_NO_IMAGES = ("not DICOM", "damaged", "no image", "too large", ARCHIVE)
_SAME_SPACING = 1e-3
"""Relative difference of pixel spacings that are the same."""


@dataclass(frozen=True)
class LeftOut:
    """A file, or frames of one, that is not part of the volume, and why; ``frames`` is 0 for a file as a whole."""

    name: str
    why: str
    frames: int = 0


@dataclass(frozen=True)
class Selection:
    """The slices of the volume.

    Attributes:
        headers: one slice a position, in no particular order.
        repeats: slices at the positions of others, with the index of their twin in ``headers``.
        left_out: every other file.
        notes: sentences on everything out of the ordinary.
        told_by: what tells the volume's pass from others of its series, "" if there is no other.
        certain: see ``passes.Pass``.
    """

    headers: list[SliceHeader]
    repeats: list[tuple[int, SliceHeader]]
    left_out: list[LeftOut]
    notes: list[str]
    told_by: str
    certain: bool


def read_folder(folder: Path, files: Sequence[StudyFile]) -> tuple[list[SliceHeader], list[LeftOut]]:
    """Read the headers of a study's files; what is no image or no CT is set aside, frame by frame."""
    headers: list[SliceHeader] = []
    aside: list[LeftOut] = []
    for file in files:
        try:
            found = read_headers(folder, file)
        except UnreadableFileError as error:
            aside.append(LeftOut(file.name, _UNREADABLE.get(type(error), "damaged")))
            continue
        whys = [aside_because(header) for header in found]
        headers += [header for header, why in zip(found, whys, strict=True) if why is None]
        counts = Counter(why for why in whys if why is not None)
        aside += [LeftOut(file.name, why, count if len(found) > 1 else 0) for why, count in counts.items()]
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
    _require_one_patient(headers)
    placed, unplaced, problem = _placed(headers)
    if not placed:
        raise problem
    stacks = [stack for group in _by_series(placed) for stack in _by_orientation(group)]
    axial = [stack for stack in stacks if is_axial(stack)]
    if not axial:
        raise StudyRefused(RefusalCode.NOT_AXIAL, "no stack of slices lies within 45 degrees of the axial plane")
    candidates = [(part, stack) for stack in axial for part in split_passes(stack)]
    best, stack = min(candidates, key=lambda candidate: _preference(candidate[0].headers))
    if len(best.headers) < 2:
        raise StudyRefused(RefusalCode.TOO_FEW_SLICES, _why_too_few(candidates))
    repeats = repeats_of(best.headers, stack)
    at_positions = {identity(header) for _, header in repeats}
    others = [*aside, *unplaced]
    named = _gathered([*others, *_rest([h for h in placed if identity(h) not in at_positions], best, stack)])
    left_out = _gathered([*others, *_rest(placed, best, stack)])
    return Selection(best.headers, repeats, left_out, _notes(best.headers, named), best.told_by, best.certain)


def _require_one_patient(headers: Iterable[SliceHeader]) -> None:
    if len({known_patient(header.patient_id) for header in headers} - {""}) > 1:
        raise StudyRefused(RefusalCode.SEVERAL_PATIENTS, SEVERAL_PATIENTS)


def _nothing_left(aside: Sequence[LeftOut]) -> StudyRefused:
    counts = Counter(item.why for item in aside)
    named = ", ".join(f"{count} {why}" for why, count in sorted(counts.items())) or "no files"
    code = RefusalCode.NO_IMAGES if all(why.startswith(_NO_IMAGES) for why in counts) else RefusalCode.NO_CT
    if set(counts) == {"too large"}:
        code = RefusalCode.TOO_LARGE
    advice = ": unpack it" if ARCHIVE in counts else ""
    return StudyRefused(code, f"no CT slice in the folder: {named}{advice}")


def _why_too_few(candidates: Sequence[tuple[Pass, Sequence[SliceHeader]]]) -> str:
    stacks = [stack for _, stack in candidates]
    if any(len(stack) > 1 for stack in stacks):
        return "all axial slices of a series lie at one position, which is no volume"
    return "no two axial slices have the same series, size and orientation, so there is no volume"


def _placed(headers: Sequence[SliceHeader]) -> tuple[list[SliceHeader], list[LeftOut], StudyRefused]:
    placed: list[SliceHeader] = []
    unplaced: list[LeftOut] = []
    refusal = StudyRefused(RefusalCode.GEOMETRY_MISSING, "no slice has a position")
    for header in headers:
        problem = geometry_problem(header)
        if problem is None:
            placed.append(header)
        else:
            unplaced.append(_left_out(header, "no usable position or spacing"))
            refusal = StudyRefused(*problem)
    return placed, unplaced, refusal


def _by_series(headers: Iterable[SliceHeader]) -> list[list[SliceHeader]]:
    """Group slices of one study, patient, series and size.

    Frames of reference are no reason to part slices: some scanners and anonymisers give each slice its own. A UID that
    only some slices lack is that of the others, where there is one alone. Series of one slice each are taken for one
    series whose UIDs were made anew for every file.
    """
    sizes: dict[tuple[int, int], list[SliceHeader]] = defaultdict(list)
    for header in headers:
        sizes[(header.rows, header.columns)].append(header)
    groups: dict[tuple[object, ...], list[SliceHeader]] = defaultdict(list)
    for size, alike in sizes.items():
        studies = _completed(alike, [header.study_uid for header in alike])
        patients = _completed(alike, [known_patient(header.patient_id) for header in alike])
        series = _completed(alike, [header.series_uid for header in alike])
        single = {uid for uid, count in Counter(series).items() if count == 1}
        series = ["" if uid in single and len(single) >= _FEW else uid for uid in series]
        for header, *whose in zip(alike, studies, patients, series, strict=True):
            groups[(*size, *whose)].append(header)
    return list(groups.values())


def _completed(headers: Sequence[SliceHeader], values: Sequence[str]) -> list[str]:
    """Fill empty values in where all other slices, or all others of the same orientation, have one and the same."""
    known: dict[object, set[str]] = defaultdict(set)
    for header, value in zip(headers, values, strict=True):
        if value:
            known[header.orientation].add(value)
            known[None].add(value)

    def filled(header: SliceHeader, value: str) -> str:
        sets = [known[key] for key in (header.orientation, None) if len(known[key]) == 1]
        return value or (next(iter(sets[0])) if sets else "")

    return [filled(header, value) for header, value in zip(headers, values, strict=True)]


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


def _left_out(header: SliceHeader, why: str) -> LeftOut:
    return LeftOut(header.name, why, 1 if header.frames > 1 else 0)


def _rest(placed: Sequence[SliceHeader], best: Pass, stack: Sequence[SliceHeader]) -> list[LeftOut]:
    """Say of each slice that could be placed and is not used what it is."""
    used = {identity(header) for header in best.headers}
    beside = {identity(header) for header in stack}
    pass_of_stack = f"another pass, told apart by the {best.told_by}" if best.told_by else "repeated position"

    def why(header: SliceHeader) -> str:
        if identity(header) in beside:
            return pass_of_stack
        return "other series" if is_axial([header]) else "not axial"

    return [_left_out(header, why(header)) for header in placed if identity(header) not in used]


def _gathered(items: Iterable[LeftOut]) -> list[LeftOut]:
    """Count the frames of each file that are left out for one reason."""
    frames: Counter[tuple[str, str]] = Counter()
    for item in items:
        frames[(item.name, item.why)] += item.frames
    return [LeftOut(name, why, count) for (name, why), count in sorted(frames.items())]


def _notes(best: Sequence[SliceHeader], left_out: Sequence[LeftOut]) -> list[str]:
    files: Counter[tuple[str, str]] = Counter()
    for item in left_out:
        files[(item.why, "frames" if item.frames else "files")] += item.frames or 1
    notes = [f"{count} {unit} left out: {why}" for (why, unit), count in sorted(files.items())]
    if any(header.photometric == "MONOCHROME1" for header in best):
        notes.append("MONOCHROME1: the display is inverted, Hounsfield units are not")
    return notes
