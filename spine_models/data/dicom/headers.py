"""What is read of a slice's header: the facts that select, order, place and decode it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dicom.file import FileTooLargeError, FramesMismatchError, ParsedFile, parse_file
from spine_models.data.dicom.functional_groups import frame_facts
from spine_models.data.dicom.values import integer_of, items_of, number_of, text_of, vector_of, words_of

_ACQUISITION_TIME, _DESCRIPTION, _BODY_PART, _PROTOCOL = 0x00080032, 0x0008103E, 0x00180015, 0x00181030
_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _MODALITY = 0x00080008, 0x00080016, 0x00080018, 0x00080060
_CONVERSION, _MANUFACTURER = 0x00080064, 0x00080070
PATIENT_ID = 0x00100020
_THICKNESS, _TUBE_VOLTAGE, _KERNEL = 0x00180050, 0x00180060, 0x00181210
STUDY, SERIES, _FRAME_OF_REFERENCE = 0x0020000D, 0x0020000E, 0x00200052
_SERIES_NUMBER, _ACQUISITION, _INSTANCE, _TEMPORAL = 0x00200011, 0x00200012, 0x00200013, 0x00200100
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_SPACING, _ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_INTERCEPT, _SLOPE, _RESCALE_TYPE, _LOSSY = 0x00281052, 0x00281053, 0x00281054, 0x00282110
_SHARED, _PER_FRAME = 0x52009229, 0x52009230

TAGS = (
    _IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _MODALITY, _CONVERSION, PATIENT_ID, _THICKNESS, _TUBE_VOLTAGE, _KERNEL,
    _ACQUISITION_TIME, _DESCRIPTION, _BODY_PART, _PROTOCOL, _MANUFACTURER,
    STUDY, SERIES, _FRAME_OF_REFERENCE, _SERIES_NUMBER, _ACQUISITION, _INSTANCE, _TEMPORAL, _POSITION, _ORIENTATION,
    _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _SPACING, _ALLOCATED, _STORED, _HIGH_BIT, _SIGNED, _PADDING,
    _PADDING_LIMIT, _INTERCEPT, _SLOPE, _RESCALE_TYPE, _LOSSY, _SHARED, _PER_FRAME,
)  # fmt: skip
"""Everything that is ever read of a header. Names and dates are not among it. The description, the protocol and the
body part are free text: they are compared with a list of words and never stored or shown."""

MAX_FRAMES = 20_000

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One slice: a file, or a frame of a multi-frame file.

    Attributes:
        file: name, size and time of its file.
        frame: index in a multi-frame file, 0 otherwise.
        acquisition_time: time of day (of a frame: with its date); compared with that of other slices, never stored.
        stack: of an enhanced object, StackID.
        words: SeriesDescription, ProtocolName and BodyPartExamined in capitals; compared with words, never stored.
        position: mm, LPS, of the centre of the first pixel; None if absent or not a number (as the next three).
        orientation: directions along a row and along a column, LPS.
        spacing: mm between rows and between columns.
        slope: of the rescale to HU; with ``intercept``.
        rows: of pixels; 0 if absent, as ``columns``, ``samples``, ``bits_allocated`` and ``bits_stored``.
        sign: PixelRepresentation, 1 for signed values; -1 if absent.
        padding: lowest and highest stored value that mean "no data", None without padding tags.
        pixel_offset: see ``ParsedFile``; None: no pixels.
    """

    file: StudyFile
    frame: int
    frames: int
    study_uid: str
    series_uid: str
    sop_instance: str
    patient_id: str
    sop_class: str
    modality: str
    image_type: tuple[str, ...]
    conversion: str
    frame_of_reference: str
    kernel: str
    manufacturer: str
    acquisition_time: str
    stack: str
    words: str
    tube_voltage: float | None
    series_number: float | None
    acquisition: float | None
    temporal: float | None
    instance: float | None
    thickness: float | None
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    sign: int
    slope: float | None
    intercept: float | None
    rescale_type: str
    padding: tuple[int, int] | None
    lossy: bool
    transfer_syntax: str
    little_endian: bool
    pixel_offset: int | None
    pixel_length: int
    pixel_vr: str | None
    float_pixels: bool

    @property
    def signed(self) -> bool:
        """Stored values are two's complement."""
        return self.sign == 1

    @property
    def name(self) -> str:
        """The file's name within the study's folder."""
        return self.file.name


def read_headers(folder: Path, file: StudyFile) -> list[SliceHeader]:
    """Read the header of one file: one entry, or one for each frame of a multi-frame object.

    Raises:
        UnreadableFileError: see ``dicom_file.parse_file``.
    """
    parsed = parse_file(folder / file.name, TAGS)
    header = _header(file, parsed)
    groups = items_of(parsed.elements, _PER_FRAME)
    if len(groups) > MAX_FRAMES or header.frames > MAX_FRAMES:
        raise FileTooLargeError(f"it claims more than {MAX_FRAMES} frames")
    if groups:
        return _frames(header, parsed, groups)
    # Several frames that share one position are not a stack.
    return [header if header.frames == 1 else replace(header, position=None)]


def _header(file: StudyFile, parsed: ParsedFile) -> SliceHeader:
    elements = parsed.elements
    little = parsed.little_endian

    def integer(tag: int, default: int) -> int:
        value = integer_of(elements, tag, little)
        return default if value is None else value

    signed = integer(_SIGNED, 0) == 1
    return SliceHeader(
        file=file,
        frame=0,
        frames=max(1, int(number_of(elements, _FRAMES) or 1)),
        study_uid=text_of(elements, STUDY),
        series_uid=text_of(elements, SERIES),
        sop_instance=text_of(elements, _SOP_INSTANCE),
        patient_id=text_of(elements, PATIENT_ID),
        sop_class=text_of(elements, _SOP_CLASS),
        modality=text_of(elements, _MODALITY).upper(),
        image_type=words_of(elements, _IMAGE_TYPE),
        conversion=text_of(elements, _CONVERSION).upper(),
        frame_of_reference=text_of(elements, _FRAME_OF_REFERENCE),
        kernel=text_of(elements, _KERNEL),
        manufacturer=text_of(elements, _MANUFACTURER),
        acquisition_time=text_of(elements, _ACQUISITION_TIME),
        stack="",
        words=" ".join(text_of(elements, tag) for tag in (_BODY_PART, _DESCRIPTION, _PROTOCOL)).upper(),
        tube_voltage=number_of(elements, _TUBE_VOLTAGE),
        series_number=number_of(elements, _SERIES_NUMBER),
        acquisition=number_of(elements, _ACQUISITION),
        temporal=number_of(elements, _TEMPORAL),
        instance=number_of(elements, _INSTANCE),
        thickness=number_of(elements, _THICKNESS),
        position=vector_of(elements, _POSITION, 3),
        orientation=vector_of(elements, _ORIENTATION, 6),
        spacing=vector_of(elements, _SPACING, 2),
        rows=integer(_ROWS, 0),
        columns=integer(_COLUMNS, 0),
        samples=integer(_SAMPLES, 0),
        photometric=text_of(elements, _PHOTOMETRIC),
        bits_allocated=integer(_ALLOCATED, 0),
        bits_stored=integer(_STORED, 0),
        high_bit=integer(_HIGH_BIT, -1),
        sign=integer(_SIGNED, -1),
        slope=number_of(elements, _SLOPE),
        intercept=number_of(elements, _INTERCEPT),
        rescale_type=text_of(elements, _RESCALE_TYPE).upper(),
        padding=_padding(elements, little, signed),
        lossy=text_of(elements, _LOSSY) == "01",
        transfer_syntax=parsed.transfer_syntax,
        little_endian=little,
        pixel_offset=parsed.pixel_offset,
        pixel_length=parsed.pixel_length,
        pixel_vr=parsed.pixel_vr,
        float_pixels=parsed.float_pixels,
    )


def _padding(elements: Dataset, little: bool, signed: bool) -> tuple[int, int] | None:
    value = integer_of(elements, _PADDING, little, signed)
    if value is None:
        return None
    limit = integer_of(elements, _PADDING_LIMIT, little, signed)
    other = value if limit is None else limit
    return min(value, other), max(value, other)


def _frames(header: SliceHeader, parsed: ParsedFile, groups: list[Dataset]) -> list[SliceHeader]:
    """Spread an enhanced object over its frames; each is judged by its own functional groups.

    Raises:
        FramesMismatchError: if there are more or fewer groups than frames.
    """
    if len(groups) != header.frames:
        raise FramesMismatchError(f"it has {header.frames} frames, and functional groups for {len(groups)}")
    shared = (items_of(parsed.elements, _SHARED) or [Dataset()])[0]
    return [
        replace(header, frame=index, instance=float(index), **frame_facts(group, shared, parsed.little_endian))
        for index, group in enumerate(groups)
    ]
