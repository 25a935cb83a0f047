"""From a slice's stored bytes to Hounsfield units."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.encapsulated import CheckedFrame, checked_frame, damaged, decode_rle, whole_frame
from spine_models.data.dicom.file import UnreadableFileError, read_range
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.jpeg_lossless import decode_lossless_jpeg
from spine_models.data.dicom.jpeg_structure import DamagedCodestreamError
from spine_models.hounsfield import AIR_HU

MAX_SIDE = 4096
"""Largest side of a slice: CT scanners make 512 to 2048."""
MAX_NARROWNESS = 16

_LEAST_ENCAPSULATED = 24
"""Bytes of an empty offset table, one item and its delimiter."""
_NATIVE = frozenset(
    (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
)
_LOSSLESS = frozenset(
    (
        *_NATIVE,
        RLELossless,
        "1.2.840.10008.1.2.4.57",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.4.202",
    )
)
_JPEG_FAMILY = "1.2.840.10008.1.2.4."
_PLUGINS = ("pyjpegls", "pylibjpeg")
"""Decoders of what is not JPEG's lossless process, in the order of preference. GDCM, which pydicom prefers, ends the
process on some damage (seen by tests/fuzz)."""
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class _Stored:
    """Stored values of a slice, (rows, columns), sign-extended, and which of them are padding."""

    values: NDArray[np.integer]
    padded: NDArray[np.bool_] | None


def is_lossy(header: SliceHeader) -> bool:
    """Say whether pixels may have been changed by compression (the syntax or LossyImageCompression says so)."""
    return header.lossy or header.transfer_syntax not in _LOSSLESS


def check_claims(header: SliceHeader) -> None:
    """Check what a header claims before anything is decoded or memory is taken for it.

    Raises:
        StudyRefused: ``too_large``, ``pixels_unsupported``, ``pixels_damaged`` or ``rescale_invalid``.
    """
    if max(header.rows, header.columns) > MAX_SIDE:
        raise StudyRefused(
            RefusalCode.TOO_LARGE, f"a slice claims {header.rows} x {header.columns} pixels; {MAX_SIDE} is the limit"
        )
    if max(header.rows, header.columns) > MAX_NARROWNESS * min(header.rows, header.columns):
        raise StudyRefused(RefusalCode.PIXELS_UNSUPPORTED, "slices are more than 16 times as long as they are wide")
    if header.float_pixels or header.pixel_offset is None or header.bits_allocated not in (8, 16, 32):
        kind = "floating-point" if header.pixel_offset is None else f"{header.bits_allocated}-bit"
        raise StudyRefused(RefusalCode.PIXELS_UNSUPPORTED, f"{kind} pixels: CT has integers of 8, 16 or 32 bits")
    if header.samples != 1 or not header.photometric or header.sign not in (0, 1):
        raise StudyRefused(
            RefusalCode.PIXELS_UNSUPPORTED,
            "SamplesPerPixel, PhotometricInterpretation or PixelRepresentation is missing or impossible",
        )
    if not (0 < header.bits_stored <= header.bits_allocated and header.bits_stored - 1 <= header.high_bit):
        raise StudyRefused(
            RefusalCode.PIXELS_UNSUPPORTED, "BitsStored, HighBit and BitsAllocated contradict each other"
        )
    if header.high_bit >= header.bits_allocated:
        raise StudyRefused(RefusalCode.PIXELS_UNSUPPORTED, "HighBit is above BitsAllocated")
    native, bounded = header.transfer_syntax in _NATIVE, header.pixel_length != 0xFFFFFFFF
    if native != bounded or header.pixel_vr not in ("OB", "OW", "UN", None):
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, "a slice's pixels begin with bytes that make no sense")
    whole = native and header.transfer_syntax != DeflatedExplicitVRLittleEndian
    if whole and header.pixel_offset + header.pixel_length > header.file.size + 1:  # a last odd byte may be left out
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, "a slice's file ends before its pixels do")
    slice_bytes = header.rows * header.columns * header.bits_allocated // 8
    if native and header.pixel_length < (header.frame + 1) * slice_bytes:
        raise _too_short(header)
    if not native and header.pixel_offset + _LEAST_ENCAPSULATED > header.file.size:
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, "the compressed pixels of a slice are missing")
    if header.slope is None or header.intercept is None or not 0 < abs(header.slope) <= 1e4:
        raise StudyRefused(
            RefusalCode.RESCALE_INVALID, "RescaleSlope or RescaleIntercept is missing, zero or not a number"
        )
    if abs(header.intercept) > 1e6:
        raise StudyRefused(RefusalCode.RESCALE_INVALID, "RescaleIntercept is absurd")


def read_hounsfield(folder: Path, header: SliceHeader) -> NDArray[np.int16]:
    """Decode one slice: (rows, columns) int16 HU, as stored (not yet turned).

    HU = stored x slope + intercept, rounded half to even and clipped to int16; padding is ``AIR_HU``. The photometric
    interpretation plays no part: it tells how to display, and the rescale applies before it (DICOM PS3.4 section N.2).

    Raises:
        StudyRefused: ``pixels_damaged`` or ``pixels_unsupported``; or as ``check_claims``.
    """
    check_claims(header)
    path = folder / header.name
    try:
        stored = _native(path, header) if header.transfer_syntax in _NATIVE else _encapsulated(path, header)
    except UnreadableFileError as error:
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, f"a slice cannot be read again: {error}") from None
    hounsfield = _rescaled(stored.values, float(header.slope or 1.0), float(header.intercept or 0.0))
    if stored.padded is not None:
        hounsfield[stored.padded] = AIR_HU
    return hounsfield


def _rescaled(values: NDArray[np.integer], slope: float, intercept: float) -> NDArray[np.int16]:
    """Return values x slope + intercept, rounded half to even and clipped to int16; a new array."""
    if slope.is_integer() and intercept.is_integer():
        ends = sorted(int(end) * int(slope) + int(intercept) for end in (values.min(), values.max()))
        if (
            ends[0] >= _INT16.min and ends[1] <= _INT16.max
        ):  # whole numbers that fit: exact, whatever overflows meanwhile
            patterns = values.astype(np.uint16)
            patterns *= np.uint16(int(slope) & 0xFFFF)
            patterns += np.uint16(int(intercept) & 0xFFFF)
            return patterns.view(np.int16)
    scaled = values.astype(np.float64)
    scaled *= slope
    scaled += intercept
    np.rint(scaled, out=scaled)
    return np.clip(scaled, _INT16.min, _INT16.max).astype(np.int16)


def _native(path: Path, header: SliceHeader) -> _Stored:
    size = header.bits_allocated // 8
    count = header.rows * header.columns
    start = header.frame * count * size
    swapped = size == 1 and not header.little_endian and header.pixel_vr == "OW"
    begin = start - start % 2 if swapped else start
    length = count * size + (start - begin) + (count % 2 if swapped else 0)
    data = read_range(path, header.transfer_syntax, (header.pixel_offset or 0) + begin, length)
    if swapped:  # 8-bit pixels in big-endian 16-bit words
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    data = data[start - begin :][: count * size]
    if len(data) < count * size:
        raise _too_short(header)
    kind = np.dtype(f"{'<' if header.little_endian else '>'}u{size}")
    values = np.frombuffer(data, kind).reshape(header.rows, header.columns)
    cut = _from_bits(values, header.high_bit + 1 - header.bits_stored, header.bits_stored, header.signed)
    return _Stored(cut, _padded(values, cut, header))


def _too_short(header: SliceHeader) -> StudyRefused:
    size = header.bits_allocated // 8
    return StudyRefused(
        RefusalCode.PIXELS_DAMAGED, f"a slice is shorter than its {header.rows} x {header.columns} x {size} bytes"
    )


def _padded(
    patterns: NDArray[np.unsignedinteger], values: NDArray[np.integer], header: SliceHeader
) -> NDArray[np.bool_] | None:
    """Return which values are padding; a padding value that needs more bits than are stored is looked for in all."""
    if header.padding is None:
        return None
    low, high = header.padding
    bits = header.bits_stored
    lowest, highest = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if header.signed else (0, (1 << bits) - 1)
    if low < lowest or high > highest:
        values = _from_bits(patterns, 0, patterns.dtype.itemsize * 8, header.signed)
    padded: NDArray[np.bool_] = (values >= low) & (values <= high)
    return padded


def _from_bits(values: NDArray[np.unsignedinteger], shift: int, bits: int, signed: bool) -> NDArray[np.integer]:
    """Cut ``bits`` bits above ``shift`` out of each value and extend the sign."""
    width = values.dtype.itemsize * 8
    kind = f"{'i' if signed else 'u'}{values.dtype.itemsize}"
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if bits == width:
        return native.view(kind)
    raised = np.left_shift(native, native.dtype.type(width - bits - shift)).view(kind)
    cut: NDArray[np.integer] = np.right_shift(raised, raised.dtype.type(width - bits))
    return cut


def _encapsulated(path: Path, header: SliceHeader) -> _Stored:
    encapsulated = read_range(path, header.transfer_syntax, header.pixel_offset or 0, None)
    if header.transfer_syntax == RLELossless:
        patterns = decode_rle(whole_frame(encapsulated, header), header)
        shift, bits = header.high_bit + 1 - header.bits_stored, header.bits_stored
    else:
        patterns, precision = _decoded(encapsulated, header)
        shift, bits = 0, _bits_in_use(patterns, precision, header)
    values = _from_bits(patterns, shift, bits, header.signed)
    return _Stored(values, _padded(patterns, values, header))


def _decoded(encapsulated: bytes, header: SliceHeader) -> tuple[NDArray[np.unsignedinteger], int]:
    """Decode a frame: bit patterns (rows, columns) and the codestream's bits a sample.

    JPEG's lossless process is decoded by libjpeg-turbo, all others by pydicom's plugins.
    """
    try:
        decoder = get_decoder(UID(header.transfer_syntax))
    except NotImplementedError:
        decoder = None
    plugins = [] if decoder is None else [plugin for plugin in _PLUGINS if plugin in decoder.available_plugins]
    if decoder is None or not plugins or not header.transfer_syntax.startswith(_JPEG_FAMILY):
        raise StudyRefused(
            RefusalCode.PIXELS_UNSUPPORTED, f"there is no decoder for transfer syntax {header.transfer_syntax}"
        )
    frame = checked_frame(whole_frame(encapsulated, header), header)
    if frame.is_lossless_jpeg:
        return _lossless_jpeg(frame, header), frame.precision
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = _decoder_options(header, frame.precision) | {"decoding_plugin": plugins[0]}
            decoded, _ = decoder.as_array(encapsulated, index=header.frame, raw=True, **options)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many kinds on damaged bytes
        raise damaged(f"the compressed pixels of a slice cannot be decoded ({type(error).__name__})") from None
    if decoded.shape != (header.rows, header.columns):
        raise damaged("compressed pixels of another size than the slice says")
    return decoded.view(f"u{decoded.dtype.itemsize}"), frame.precision


def _lossless_jpeg(frame: CheckedFrame, header: SliceHeader) -> NDArray[np.unsignedinteger]:
    assert frame.jpeg is not None
    try:
        values = decode_lossless_jpeg(frame.data, frame.jpeg, header.signed)
    except DamagedCodestreamError as error:
        raise damaged(f"the compressed pixels of a slice {error}") from None
    return values.astype(f"u{header.bits_allocated // 8}", copy=False)


def _decoder_options(header: SliceHeader, precision: int) -> dict[str, Any]:
    return {
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": header.frames,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": header.bits_allocated,
        "bits_stored": max(header.bits_stored, precision),  # no bit is to be cut off yet; see _bits_in_use
        "pixel_representation": int(header.signed),
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,
    }


def _bits_in_use(patterns: NDArray[np.unsignedinteger], precision: int, header: SliceHeader) -> int:
    """Say how many bits of a decoded value count: the codestream's, or fewer where the header says so.

    Signed values of 12 bits are found in 16-bit codestreams both with and without their sign extended; 12 bits are
    right for both. Values that need more bits than the header says are damage, unless a lossy encoder overshot.

    Raises:
        StudyRefused: ``pixels_damaged`` if lossless values do not fit into the bits that the header says.
    """
    bits = min(precision, patterns.dtype.itemsize * 8)
    stored = header.bits_stored
    if stored >= bits:
        return bits
    used = patterns & patterns.dtype.type((1 << bits) - 1)
    negative = (1 << bits) - (1 << (stored - 1)) if header.signed else 1 << bits
    if np.all((used < (1 << stored)) | (used >= negative)):
        return stored
    if is_lossy(header):
        return bits
    raise damaged(f"compressed values of a slice do not fit into the {stored} bits that it claims")
