"""From a slice's stored bytes to Hounsfield units."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from spine_models.data.codestream import codestream_facts
from spine_models.data.dicom_file import MAX_FILE_BYTES, UnreadableFileError, pixel_stream
from spine_models.data.dicom_headers import SliceHeader
from spine_models.data.quarantine import RefusalCode, StudyRefused
from spine_models.levels import AIR_HU

MAX_SIDE = 4096
"""Largest side of a slice: CT scanners make 512 to 2048."""
MAX_VOXELS = 4 << 30
"""Largest study: 8 GiB as int16."""

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
_INT16 = np.iinfo(np.int16)

Stored = NDArray[np.int64]


def is_lossy(header: SliceHeader) -> bool:
    """Say whether pixels may have been changed by compression (the syntax or LossyImageCompression says so)."""
    return header.lossy or header.transfer_syntax not in _LOSSLESS


def check_claims(header: SliceHeader) -> None:
    """Check what a header claims before anything is decoded or memory is taken for it.

    Raises:
        StudyRefused: ``too_large``, ``pixels_unsupported`` or ``rescale_invalid``.
    """
    if max(header.rows, header.columns) > MAX_SIDE:
        raise StudyRefused(
            RefusalCode.TOO_LARGE, f"a slice claims {header.rows} x {header.columns} pixels; {MAX_SIDE} is the limit"
        )
    if header.float_pixels or header.bits_allocated not in (8, 16, 32):
        kind = "floating-point" if header.float_pixels else f"{header.bits_allocated}-bit"
        raise StudyRefused(RefusalCode.PIXELS_UNSUPPORTED, f"{kind} pixels: CT has integers of 8, 16 or 32 bits")
    if not (0 < header.bits_stored <= header.bits_allocated and header.bits_stored - 1 <= header.high_bit):
        raise StudyRefused(
            RefusalCode.PIXELS_UNSUPPORTED, "BitsStored, HighBit and BitsAllocated contradict each other"
        )
    if header.high_bit >= header.bits_allocated:
        raise StudyRefused(RefusalCode.PIXELS_UNSUPPORTED, "HighBit lies above BitsAllocated")
    if header.slope is None or header.intercept is None or not 0 < abs(header.slope) <= 1e4:
        raise StudyRefused(
            RefusalCode.RESCALE_INVALID, "RescaleSlope or RescaleIntercept is missing, zero or no number"
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
    try:
        stream = pixel_stream(folder / header.name, header.transfer_syntax)
    except (OSError, UnreadableFileError) as error:
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, f"a slice cannot be read again: {error}") from None
    return to_hounsfield(stored_values(stream, header), header)


def to_hounsfield(stored: NDArray[np.integer], header: SliceHeader) -> NDArray[np.int16]:
    """Apply rescale and padding to stored values of any integer type; see ``read_hounsfield``."""
    slope, intercept = float(header.slope or 1.0), float(header.intercept or 0.0)
    scaled = stored.astype(np.float64)
    scaled *= slope
    scaled += intercept
    np.rint(scaled, out=scaled)
    hounsfield = np.clip(scaled, _INT16.min, _INT16.max).astype(np.int16)
    if header.padding is not None:
        low, high = header.padding
        hounsfield[(stored >= low) & (stored <= high)] = AIR_HU
    return hounsfield


def stored_values(stream: bytes, header: SliceHeader) -> NDArray[np.integer]:
    """Return the stored values of one slice, (rows, columns), sign-extended from the bits that are stored."""
    if header.pixel_offset is None:
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, "a slice has no pixels")
    if header.transfer_syntax in _NATIVE:
        return _native(stream, header)
    return _encapsulated(stream, header)


def _native(stream: bytes, header: SliceHeader) -> NDArray[np.integer]:
    size = header.bits_allocated // 8
    count = header.rows * header.columns
    start = (header.pixel_offset or 0) + header.frame * count * size
    data = stream[start : start + count * size]
    if len(data) < count * size or header.pixel_length < (header.frame + 1) * count * size:
        raise StudyRefused(
            RefusalCode.PIXELS_DAMAGED,
            f"a slice has fewer pixels than its {header.rows} x {header.columns} x {size} bytes",
        )
    if size == 1 and not header.little_endian and header.pixel_vr == "OW":
        data = _swapped(stream, header, count)
    values = np.frombuffer(data, f"{'<' if header.little_endian else '>'}u{size}").reshape(header.rows, header.columns)
    return _from_bits(values, header.high_bit + 1 - header.bits_stored, header.bits_stored, header.signed)


def _swapped(stream: bytes, header: SliceHeader, count: int) -> bytes:
    """Undo the byte order of 16-bit words that hold 8-bit pixels (big endian, VR OW)."""
    begin = header.pixel_offset or 0
    start = begin + header.frame * count
    even = start - (start - begin) % 2
    words = np.frombuffer(stream[even : even + (count + 3) // 2 * 2], ">u2")
    return words.astype("<u2").tobytes()[start - even :][:count]


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


def _encapsulated(stream: bytes, header: SliceHeader) -> NDArray[np.integer]:
    try:
        decoder = get_decoder(UID(header.transfer_syntax))
    except NotImplementedError:
        raise StudyRefused(
            RefusalCode.PIXELS_UNSUPPORTED, f"transfer syntax {header.transfer_syntax} is not known"
        ) from None
    if not decoder.is_available:
        raise StudyRefused(
            RefusalCode.PIXELS_UNSUPPORTED, f"no decoder for transfer syntax {header.transfer_syntax} is installed"
        )
    encapsulated = stream[header.pixel_offset :]
    precision = _checked_precision(encapsulated, header)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded, _ = decoder.as_array(encapsulated, index=header.frame, raw=True, **_decoder_options(header))
    except Exception as error:  # decoders raise many kinds on damaged bytes
        raise StudyRefused(
            RefusalCode.PIXELS_DAMAGED, f"the compressed pixels of a slice cannot be decoded ({type(error).__name__})"
        ) from None
    if decoded.shape != (header.rows, header.columns):
        raise StudyRefused(
            RefusalCode.PIXELS_DAMAGED, "the compressed pixels of a slice have another size than it says"
        )
    patterns = decoded.view(f"u{decoded.dtype.itemsize}")
    return _from_bits(patterns, 0, _bits_in_use(patterns, precision, header), header.signed)


def _decoder_options(header: SliceHeader) -> dict[str, Any]:
    return {
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": header.frames,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": header.bits_allocated,
        "bits_stored": header.bits_stored,
        "pixel_representation": int(header.signed),
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,  # the header's BitsStored may be wrong; see _bits_in_use
    }


def _checked_precision(encapsulated: bytes, header: SliceHeader) -> int:
    """Compare the codestream's own header with the slice's; return its bits a sample."""
    if header.transfer_syntax == RLELossless:
        return header.bits_allocated
    try:
        frame = get_frame(encapsulated, header.frame, number_of_frames=header.frames)
    except Exception:  # pydicom raises many kinds on damaged bytes
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, "the compressed pixels of a slice are cut off") from None
    if len(frame) > MAX_FILE_BYTES or not header.transfer_syntax.startswith(_JPEG_FAMILY):
        raise StudyRefused(RefusalCode.PIXELS_UNSUPPORTED, "the pixels are compressed as a film, not as slices")
    facts = codestream_facts(frame)
    if facts is None:
        raise StudyRefused(RefusalCode.PIXELS_DAMAGED, "the compressed pixels of a slice have no readable header")
    if (facts.rows, facts.columns, facts.components) != (header.rows, header.columns, 1):
        raise StudyRefused(
            RefusalCode.PIXELS_DAMAGED,
            f"compressed pixels of {facts.rows} x {facts.columns} x {facts.components} in a slice that claims "
            f"{header.rows} x {header.columns} x 1",
        )
    return facts.precision


def _bits_in_use(patterns: NDArray[np.unsignedinteger], precision: int, header: SliceHeader) -> int:
    """Say how many bits of a decoded value count: the codestream's, or fewer where the header says so and they fit.

    Signed values of 12 bits are found in 16-bit codestreams both with and without their sign extended; 12 bits are
    right for both. Values that need the codestream's bits contradict the header, and the codestream wins.
    """
    width = patterns.dtype.itemsize * 8
    bits = min(precision, width)
    stored = header.bits_stored
    if not header.signed or stored >= bits:
        return bits
    high = patterns & np.array((1 << bits) - 1, patterns.dtype)
    extended = (1 << bits) - (1 << (stored - 1))
    fits = bool(np.all((high < (1 << stored)) | (high >= extended)))
    return stored if fits else bits
