"""Which files of a study's folder are the volume: one axial CT stack; what is left out is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.choice import Candidate, Choice, Choose, most_slices, series_facts
from spine_models.data.dicom.file import (
    ArchiveError,
    FileTooLargeError,
    FramesMismatchError,
    NotDicomError,
    UnreadableFileError,
)
from spine_models.data.dicom.geometry import geometry_problem, is_axial
from spine_models.data.dicom.headers import SliceHeader, read_headers
from spine_models.data.dicom.passes import Pass, identity, repeats_of, split_passes
from spine_models.data.dicom.patients import known_patient
from spine_models.data.dicom.stacks import stacks_of
from spine_models.data.volume_facts import SeriesFacts

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
UNREAD = ("not DICOM", "damaged", "no image", "too large", ARCHIVE)
"""How the reasons begin for which a file as a whole is not an image."""


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
        series: facts of the chosen stack, then of every other axial one with the reason why it is not used.
    """

    headers: list[SliceHeader]
    repeats: list[tuple[int, SliceHeader]]
    left_out: list[LeftOut]
    notes: list[str]
    told_by: str
    certain: bool
    series: list[SeriesFacts]


def read_folder(folder: Path, files: Sequence[StudyFile]) -> tuple[list[SliceHeader], list[LeftOut]]:
    """Read the headers of a study's files; what is not an image or not CT is set aside, frame by frame."""
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
    """Say why an object is not a CT slice, None if it may be one; a tag that is absent is not a reason."""
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


def select(headers: Sequence[SliceHeader], aside: Sequence[LeftOut], choose: Choose = most_slices) -> list[Selection]:
    """Choose the axial stack that is the volume.

    Args:
        headers: of the CT slices.
        aside: what else there is.
        choose: ranks candidates.

    Returns:
        The best stack, and behind it those that may be as good as far as headers tell.

    Raises:
        StudyRefused: ``no_images``, ``no_ct``, ``several_patients``, ``geometry_missing``, ``geometry_invalid``,
            ``spacing_invalid``, ``not_axial`` or ``too_few_slices``.
    """
    if not headers:
        raise _nothing_left(aside)
    _require_one_patient(headers)
    placed, unplaced, problem = _placed(headers)
    if not placed:
        raise problem
    axial = [stack for stack in stacks_of(placed) if is_axial(stack)]
    if not axial:
        raise StudyRefused(RefusalCode.NOT_AXIAL, "no stack of slices is within 45 degrees of the axial plane")
    passes = [(part, stack) for stack in axial for part in split_passes(stack)]
    candidates = [Candidate(part, stack) for part, stack in passes if len(part.headers) > 1]
    if not candidates:
        raise StudyRefused(RefusalCode.TOO_FEW_SLICES, _why_too_few(passes))
    choice = choose(candidates)
    others = [*aside, *unplaced]
    return [_selection(best, placed, others, choice) for best in choice.best]


def _selection(best: Candidate, placed: Sequence[SliceHeader], others: Sequence[LeftOut], choice: Choice) -> Selection:
    chosen = best.chosen
    repeats = repeats_of(chosen.headers, best.stack)
    at_positions = {identity(header) for _, header in repeats}
    rejected = choice.reasons(best)
    whys = {identity(header): f"other series, {why}" for other, why in rejected for header in other.headers}
    named = [header for header in placed if identity(header) not in at_positions]
    left_out = _gathered([*others, *_rest(placed, chosen, best.stack, whys)])
    notes = _notes(chosen.headers, _gathered([*others, *_rest(named, chosen, best.stack, whys)]))
    facts = [series_facts(best, ""), *(series_facts(other, why) for other, why in rejected)]
    return Selection(chosen.headers, repeats, left_out, notes, chosen.told_by, chosen.certain, facts)


def _require_one_patient(headers: Iterable[SliceHeader]) -> None:
    if len({known_patient(header.patient_id) for header in headers} - {""}) > 1:
        raise StudyRefused(RefusalCode.SEVERAL_PATIENTS, SEVERAL_PATIENTS)


def _nothing_left(aside: Sequence[LeftOut]) -> StudyRefused:
    counts = Counter(item.why for item in aside)
    named = ", ".join(f"{count} {why}" for why, count in sorted(counts.items())) or "no files"
    code = RefusalCode.NO_IMAGES if all(why.startswith(UNREAD) for why in counts) else RefusalCode.NO_CT
    if set(counts) == {"too large"}:
        code = RefusalCode.TOO_LARGE
    advice = ": unpack it" if ARCHIVE in counts else ""
    return StudyRefused(code, f"no CT slice in the folder: {named}{advice}")


def _why_too_few(candidates: Sequence[tuple[Pass, Sequence[SliceHeader]]]) -> str:
    stacks = [stack for _, stack in candidates]
    if any(len(stack) > 1 for stack in stacks):
        return "all axial slices of a series lie at one position, which is not a volume"
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


def _left_out(header: SliceHeader, why: str) -> LeftOut:
    return LeftOut(header.name, why, 1 if header.frames > 1 else 0)


def _rest(
    placed: Sequence[SliceHeader], best: Pass, stack: Sequence[SliceHeader], whys: Mapping[tuple[str, int], str]
) -> list[LeftOut]:
    """Say of each slice that could be placed and is not used what it is."""
    used = {identity(header) for header in best.headers}
    beside = {identity(header) for header in stack}
    pass_of_stack = f"another pass, told apart by the {best.told_by}" if best.told_by else "repeated position"

    def why(header: SliceHeader) -> str:
        if identity(header) in beside:
            return pass_of_stack
        return whys.get(identity(header), "other series" if is_axial([header]) else "not axial")

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
