"""JPEG's lossless process: decoded by libjpeg-turbo, and compared with the length of what was decoded.

libjpeg-turbo passes over damage in coded data: it makes up what is missing and leaves what is over. In this process
every pixel takes a number of bits that follows from its value and its neighbours' (ISO 10918-1 annex H), so that the
decoded slice says how long its code was. Where that is another length than the frame has, or another code at its end,
the decoder had lost its place. A changed bit after which it keeps its place changes pixels, and nothing in this format
can tell.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from imagecodecs import jpeg8_decode
from numpy.typing import NDArray

from spine_models.data.dicom.jpeg_structure import (
    DamagedCodestreamError,
    HuffmanCodes,
    JpegStructure,
    LosslessParameters,
    lossless_parameters,
)

_COMPARED = 32
"""Last differences of an interval whose code is compared, bit by bit."""


def decode_lossless_jpeg(frame: bytes, structure: JpegStructure, signed: bool) -> NDArray[np.unsignedinteger]:
    """Decode a frame of one component: bit patterns (rows, columns), of 8 bits up to that precision, otherwise of 16.

    Args:
        frame: from its first marker on.
        structure: of the frame.
        signed: whether values may be negative; some encoders then extend the sign beyond the precision.

    Raises:
        DamagedCodestreamError: if the frame is not built as it must be, or its code is longer or shorter than its
            pixels.
    """
    parameters = lossless_parameters(structure)
    try:
        values: NDArray[np.unsignedinteger] = jpeg8_decode(frame)
    except RuntimeError:  # Jpeg8Error
        raise DamagedCodestreamError("cannot be decoded") from None
    _require_range(values, parameters.precision, signed)
    differences = _differences(values, parameters)
    bits = _bits_of_difference(parameters.codes)[differences]
    if not bits.all():
        raise DamagedCodestreamError("hold values that their Huffman table has no code for")
    firsts = np.arange(0, len(values), parameters.restart_rows)
    used = np.add.reduceat(bits.sum(axis=1, dtype=np.int64), firsts).tolist()
    for interval, coded, first in zip(structure.scans[0].intervals, used, firsts.tolist(), strict=True):
        last = differences[first : first + parameters.restart_rows].ravel()[-_COMPARED:]
        _require_end(interval.bits - coded, interval.last_bytes(frame, 4 * _COMPARED), last.tolist(), parameters.codes)
    return values


def _require_end(spare: int, end: bytes, differences: list[int], codes: HuffmanCodes) -> None:
    """Compare the end of an interval with the code of its last differences.

    Args:
        spare: bits that code nothing: fewer than eight, ones (section B.1.1.5) or, of some encoders, zeros.
        end: the last bytes.
        differences: the last of them, modulo 2^16.
        codes: see ``LosslessParameters``.
    """
    bits, code = int.from_bytes(end, "big"), 0
    filler = (1 << max(spare, 0)) - 1
    length = 0
    for difference in differences:
        own, value = _code(difference, codes)
        code, length = code << own | value, length + own
    if not 0 <= spare < 8 or bits & filler not in (0, filler) or (bits >> spare) & ((1 << length) - 1) != code:
        raise DamagedCodestreamError("are longer or shorter than the pixels that they decode to")


def _code(difference: int, codes: HuffmanCodes) -> tuple[int, int]:
    """Return the bits of a difference modulo 2^16, and its code (section H.1.2.2)."""
    if difference == 1 << 15:
        return codes[16]
    signed = difference - ((difference >> 15) << 16)
    category = abs(signed).bit_length()
    length, code = codes[category]
    own = signed if signed >= 0 else signed + (1 << category) - 1
    return length + category, code << category | own


def _require_range(values: NDArray[np.unsignedinteger], precision: int, signed: bool) -> None:
    """Check that values have no bits above the precision, but for an extended sign."""
    limit = 1 << precision
    if int(values.max()) < limit:
        return
    beyond = values[values >= limit]
    if not signed or int(beyond.min()) < (1 << 16) - limit // 2:
        raise DamagedCodestreamError(f"hold values of more than the {precision} bits that they claim")


def _differences(values: NDArray[np.unsignedinteger], parameters: LosslessParameters) -> NDArray[np.uint16]:
    """Return what was coded of each sample, modulo 2^16: its difference from the prediction (section H.1.2)."""
    samples = (values >> parameters.point_transform).astype(np.uint16, copy=False)
    left, above, corner = samples[1:, :-1], samples[:-1, 1:], samples[:-1, :-1]
    differences = np.empty_like(samples)
    if parameters.predictor == 1:
        predicted = left
    elif parameters.predictor == 2:
        predicted = above
    elif parameters.predictor == 3:
        predicted = corner
    elif parameters.predictor == 4:
        predicted = left + above - corner
    elif parameters.predictor == 5:
        predicted = left + _half(above, corner)
    elif parameters.predictor == 6:
        predicted = above + _half(left, corner)
    else:
        predicted = ((left.astype(np.uint32) + above) >> 1).astype(np.uint16)
    np.subtract(samples[1:, 1:], predicted, out=differences[1:, 1:])
    np.subtract(samples[1:, 0], samples[:-1, 0], out=differences[1:, 0])
    first = slice(None, None, parameters.restart_rows)
    differences[first, 1:] = samples[first, 1:] - samples[first, :-1]
    differences[first, 0] = samples[first, 0] - np.uint16(1 << (parameters.precision - parameters.point_transform - 1))
    return differences


def _half(one: NDArray[np.uint16], other: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return half of a difference, rounded down, modulo 2^16."""
    return ((one.astype(np.int32) - other) >> 1).astype(np.uint16)


@lru_cache(maxsize=64)
def _bits_of_difference(codes: HuffmanCodes) -> NDArray[np.uint8]:
    """Return the bits that each difference modulo 2^16 takes: its category's code, and the category's bits.

    Category k holds the differences of k bits without sign; 32768, the only one of category 16, has no bits of its own.
    """
    bits = np.zeros(1 << 16, np.uint8)
    for category, (length, _) in enumerate(codes):
        if category in (0, 16):
            bits[(1 << category) >> 1] = length
        elif length:
            low, high = 1 << (category - 1), 1 << category
            bits[low:high] = bits[(1 << 16) - high + 1 : (1 << 16) - low + 1] = length + category
    return bits
