"""Whether a JPEG 2000 codestream (HTJ2K too) is built as it must be, which decoders are lenient about.

Bits inside of its packets cannot be judged without decoding them, and nearly every sequence of bits decodes to some
image. What can be known is known here: lengths, tile-parts, and bytes that packets never hold.
"""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np

from spine_models.data.dicom.jpeg_structure import DamagedCodestreamError

_SOC, _SIZ, _COD, _SOT, _SOD, _EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF90, 0xFF93, 0xFFD9
_SOP, _EPH = b"\xff\x91\x00\x04", 0x92
_SOP_BYTES = 6
_TILE_PART_HEADER = 12
_MAX_TILES = 65535
_FILL = b"\0\xff"


def require_whole_jpeg2000(codestream: bytes) -> None:
    """Walk over the main header and all tile-parts (ISO 15444-1 annex A).

    Args:
        codestream: from SOC on; bytes that fill it up may follow its end.

    Raises:
        DamagedCodestreamError: if it is not built as it must be.
    """
    try:
        _walk(codestream)
    except struct.error:
        raise DamagedCodestreamError("are cut off") from None


def _walk(codestream: bytes) -> None:
    at, main = _segments(codestream, 2, _SOT)
    if not main or main[0][0] != _SIZ:
        raise DamagedCodestreamError("have no size")
    tiles, parts = _tiles(main[0][1]), Counter[int]()
    while _word(codestream, at) == _SOT:
        at = _tile_part(codestream, at, main, parts)
    if _word(codestream, at) != _EOC or codestream[at + 2 :].strip(_FILL):
        raise DamagedCodestreamError("do not end where their tiles do")
    if len(parts) != tiles or max(parts) >= tiles:
        raise DamagedCodestreamError(f"hold {len(parts)} of {tiles} tiles")


def _tiles(size: bytes) -> int:
    """Return the number of tiles that SIZ says."""
    x1, y1, _, _, width, height, x0, y0 = struct.unpack_from(">8L", size, 2)
    if not width or not height or x1 <= x0 or y1 <= y0:
        raise DamagedCodestreamError("have no size")
    tiles = -(-(x1 - x0) // width) * -(-(y1 - y0) // height)
    if tiles > _MAX_TILES:
        raise DamagedCodestreamError("have an impossible number of tiles")
    return int(tiles)


def _segments(codestream: bytes, at: int, end: int) -> tuple[int, list[tuple[int, bytes]]]:
    """Walk over marker segments up to the marker ``end``; return where that is, and markers with their parameters."""
    found = []
    while (marker := _word(codestream, at)) != end:
        length = _word(codestream, at + 2)
        if not 0xFF50 <= marker <= 0xFF6F or length < 2 or at + 2 + length > len(codestream):
            raise DamagedCodestreamError("have a damaged header")
        found.append((marker, codestream[at + 4 : at + 2 + length]))
        at += 2 + length
    return at, found


def _tile_part(codestream: bytes, start: int, main: list[tuple[int, bytes]], parts: Counter[int]) -> int:
    """Walk over a tile-part; return where the next begins."""
    # The number of parts that follows is one too small in files of old encoders.
    length, tile, total, part = struct.unpack_from(">HHLB", codestream, start + 2)
    end = start + total if total else _last_end(codestream)
    if length != _TILE_PART_HEADER - 2 or end > len(codestream) or part != parts[tile] % 256:
        raise DamagedCodestreamError("have tile-parts that are out of order")
    parts[tile] += 1
    at, own = _segments(codestream, start + _TILE_PART_HEADER, _SOD)
    styles = [parameters for marker, parameters in [*main, *own] if marker == _COD]
    if not styles or at + 2 > end:
        raise DamagedCodestreamError("have tile-parts of an impossible length")
    _require_packets(codestream[at + 2 : end], styles[-1][0])
    return end


def _last_end(codestream: bytes) -> int:
    """Return where a tile-part of unknown length ends, which only the last may have: at the end of the codestream."""
    return len(codestream.rstrip(_FILL)) - 2


def _require_packets(packets: bytes, style: int) -> None:
    """Check that packets hold no byte above 0x8F behind 0xFF, but for the markers that the coding style allows."""
    codes = np.frombuffer(packets, np.uint8)
    places = np.flatnonzero((codes[:-1] == 0xFF) & (codes[1:] > 0x8F)).tolist()
    numbers_end = 0
    for place in places:
        if place < numbers_end:  # a packet's number may hold any byte
            continue
        if style & 2 and packets.startswith(_SOP, place):
            numbers_end = place + _SOP_BYTES
        elif not (style & 4 and packets[place + 1] == _EPH):
            raise DamagedCodestreamError("have markers in their middle")


def _word(codestream: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", codestream, at)[0])
