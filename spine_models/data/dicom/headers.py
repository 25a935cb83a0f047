"""What is read of a slice's header: the facts that select, order, place and decode it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dicom.file import FileTooLargeError, ParsedFile, parse_file
from spine_models.data.dicom.values import integer_of, items_of, numbers_of, text_of

_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _MODALITY = 0x00080008, 0x00080016, 0x00080018, 0x00080060
_CONVERSION = 0x00080064
_PATIENT_ID = 0x00100020
_THICKNESS, _TUBE_VOLTAGE, _KERNEL = 0x00180050, 0x00180060, 0x00181210
_STUDY, _SERIES, _FRAME_OF_REFERENCE = 0x0020000D, 0x0020000E, 0x00200052
_SERIES_NUMBER, _ACQUISITION, _INSTANCE, _TEMPORAL = 0x00200011, 0x00200012, 0x00200013, 0x00200100
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_SPACING, _ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_INTERCEPT, _SLOPE, _RESCALE_TYPE, _LOSSY = 0x00281052, 0x00281053, 0x00281054, 0x00282110
_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES, _PIXEL_VALUES = 0x00209113, 0x00209116, 0x00289110, 0x00289145
_FRAME_TYPE_SEQUENCE, _FRAME_TYPE = 0x00189329, 0x00089007

TAGS = (
    _IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _MODALITY, _CONVERSION, _PATIENT_ID, _THICKNESS, _TUBE_VOLTAGE, _KERNEL,
    _STUDY, _SERIES, _FRAME_OF_REFERENCE, _SERIES_NUMBER, _ACQUISITION, _INSTANCE, _TEMPORAL, _POSITION, _ORIENTATION,
    _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _SPACING, _ALLOCATED, _STORED, _HIGH_BIT, _SIGNED, _PADDING,
    _PADDING_LIMIT, _INTERCEPT, _SLOPE, _RESCALE_TYPE, _LOSSY, _SHARED, _PER_FRAME,
)  # fmt: skip
"""Everything that is ever read of a header. Names, dates and free text are not among it."""

MAX_FRAMES = 20_000

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One slice: a file, or a frame of a multi-frame file.

    Attributes:
        file: name, size and time of its file.
        frame: index in a multi-frame file, 0 otherwise.
        position: mm, LPS, of the centre of the first pixel; None if absent or no number (as the next three).
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
    # Several frames that share one position are no stack.
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
        frames=max(1, int(_number(elements, _FRAMES) or 1)),
        study_uid=text_of(elements, _STUDY),
        series_uid=text_of(elements, _SERIES),
        sop_instance=text_of(elements, _SOP_INSTANCE),
        patient_id=text_of(elements, _PATIENT_ID),
        sop_class=text_of(elements, _SOP_CLASS),
        modality=text_of(elements, _MODALITY).upper(),
        image_type=_image_type(elements, _IMAGE_TYPE),
        conversion=text_of(elements, _CONVERSION).upper(),
        frame_of_reference=text_of(elements, _FRAME_OF_REFERENCE),
        kernel=text_of(elements, _KERNEL),
        tube_voltage=_number(elements, _TUBE_VOLTAGE),
        series_number=_number(elements, _SERIES_NUMBER),
        acquisition=_number(elements, _ACQUISITION),
        temporal=_number(elements, _TEMPORAL),
        instance=_number(elements, _INSTANCE),
        thickness=_number(elements, _THICKNESS),
        position=_vector(elements, _POSITION, 3),
        orientation=_vector(elements, _ORIENTATION, 6),
        spacing=_vector(elements, _SPACING, 2),
        rows=integer(_ROWS, 0),
        columns=integer(_COLUMNS, 0),
        samples=integer(_SAMPLES, 0),
        photometric=text_of(elements, _PHOTOMETRIC),
        bits_allocated=integer(_ALLOCATED, 0),
        bits_stored=integer(_STORED, 0),
        high_bit=integer(_HIGH_BIT, -1),
        sign=integer(_SIGNED, -1),
        slope=_number(elements, _SLOPE),
        intercept=_number(elements, _INTERCEPT),
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
    """Spread an enhanced object over its frames (DICOM PS3.3 section C.7.6.16, functional groups)."""
    shared = (items_of(parsed.elements, _SHARED) or [Dataset()])[0]
    spread = []
    for index, group in enumerate(groups):
        measures = _group(group, shared, _PIXEL_MEASURES)
        values = _group(group, shared, _PIXEL_VALUES)
        frame_type = _image_type(_group(group, shared, _FRAME_TYPE_SEQUENCE), _FRAME_TYPE)
        spread.append(
            replace(
                header,
                frame=index,
                frames=len(groups) if header.frames == 1 else header.frames,
                image_type=frame_type or header.image_type,
                instance=float(index),
                position=_vector(_group(group, shared, _PLANE_POSITION), _POSITION, 3) or header.position,
                orientation=_vector(_group(group, shared, _PLANE_ORIENTATION), _ORIENTATION, 6) or header.orientation,
                spacing=_vector(measures, _SPACING, 2) or header.spacing,
                slope=_number(values, _SLOPE) if values else header.slope,
                intercept=_number(values, _INTERCEPT) if values else header.intercept,
                rescale_type=text_of(values, _RESCALE_TYPE).upper() or header.rescale_type,
            )
        )
    return spread


def _group(own: Dataset, shared: Dataset, tag: int) -> Dataset:
    return (items_of(own, tag) or items_of(shared, tag) or [Dataset()])[0]


def _image_type(elements: Dataset, tag: int) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in text_of(elements, tag).split("\\") if part.strip())


def _vector(elements: Dataset, tag: int, length: int) -> Vector | None:
    values = numbers_of(elements, tag)
    return values if values is not None and len(values) == length else None


def _number(elements: Dataset, tag: int) -> float | None:
    values = numbers_of(elements, tag)
    return values[0] if values is not None and len(values) == 1 else None
