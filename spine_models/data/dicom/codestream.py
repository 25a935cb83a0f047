"""What a compressed frame says of itself, read before a decoder takes memory for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_J2K_START = b"\xff\x4f\xff\x51"
_JP2_CODESTREAM = b"jp2c"
_FRAME_MARKERS = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7))
_WITHOUT_LENGTH = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))


@dataclass(frozen=True)
class CodestreamFacts:
    """Rows, columns, components and bits a sample of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Attributes:
        start: of a JPEG 2000 codestream within its frame, which may be in a box; None for JPEG and JPEG-LS.
    """

    rows: int
    columns: int
    components: int
    precision: int
    start: int | None = None


def codestream_facts(frame: bytes) -> CodestreamFacts | None:
    """Read the header of a codestream; None if there is none that can be read.

    JPEG: ISO 10918-1 section B.2.2 (SOF); JPEG-LS: ISO 14495-1 section C.2.2 (SOF55); JPEG 2000 and HTJ2K:
    ISO 15444-1 section A.5.1 (SIZ).
    """
    try:
        start = 0 if frame[:4] == _J2K_START else _after_box(frame)
        return _siz(frame, start) if start is not None else _sof(frame)
    except (struct.error, IndexError):
        return None


def _after_box(frame: bytes) -> int | None:
    box = frame[:4096].find(_JP2_CODESTREAM)
    return box + 4 if box >= 0 and frame[box + 4 : box + 8] == _J2K_START else None


def _siz(frame: bytes, start: int) -> CodestreamFacts:
    x1, y1, x0, y0 = struct.unpack_from(">4L", frame, start + 8)
    components, depth = struct.unpack_from(">HB", frame, start + 40)
    return CodestreamFacts(y1 - y0, x1 - x0, components, (depth & 0x7F) + 1, start)


def _sof(frame: bytes) -> CodestreamFacts | None:
    at = 0
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
            return CodestreamFacts(rows, columns, components, precision)
        else:
            at += 2 + int(struct.unpack_from(">H", frame, at + 2)[0])
    return None
