from __future__ import annotations

import struct

import numpy as np
import pytest
from openjpeg.utils import encode_array

from spine_models.data.dicom.jpeg2000_structure import require_whole_jpeg2000
from spine_models.data.dicom.jpeg_structure import DamagedCodestreamError
from tests.data.dicom.test_htj2k import CODESTREAM as HIGH_THROUGHPUT

VALUES = np.random.default_rng(2).integers(0, 1 << 16, (64, 70)).astype("<u2")
WHOLE = bytes(encode_array(VALUES, codec_format=0))
TILE = WHOLE.index(b"\xff\x90\x00\x0a")
DATA = WHOLE.index(b"\xff\x93") + 2


def in_four_tiles() -> bytes:
    """The same header with tiles of half the size, and the one tile-part four times: a structure, and no image."""
    header = bytearray(WHOLE[:TILE])
    size = header.index(b"\xff\x51") + 4
    struct.pack_into(">2L", header, size + 18, 35, 32)
    part = WHOLE[TILE:-2]
    return bytes(header) + b"".join(part[:4] + struct.pack(">H", tile) + part[6:] for tile in range(4)) + b"\xff\xd9"


FOUR = in_four_tiles()
PART = len(WHOLE) - 2 - TILE


def with_style(codestream: bytes, style: int) -> bytes:
    at = codestream.index(b"\xff\x52") + 4
    return codestream[:at] + bytes((style,)) + codestream[at + 1 :]


def with_packet(marker: bytes, style: int, codestream: bytes = WHOLE) -> bytes:
    """Put bytes where packets begin, and lengthen the tile-part."""
    (length,) = struct.unpack_from(">L", codestream, TILE + 6)
    longer = struct.pack(">L", length + len(marker))
    codestream = codestream[: TILE + 6] + longer + codestream[TILE + 10 : DATA] + marker + codestream[DATA:]
    return with_style(codestream, style)


@pytest.mark.parametrize(
    "codestream",
    [
        WHOLE,
        WHOLE + b"\0",
        HIGH_THROUGHPUT,
        FOUR,
        WHOLE[: TILE + 6] + bytes(4) + WHOLE[TILE + 10 :],  # a last tile-part that does not say how long it is
        with_packet(b"\xff\x91\x00\x04\x00\x00", 2),
        with_packet(b"\xff\x91\x00\x04\x00\xff\xff\x91\x00\x04\xff\xff", 2),
        with_packet(b"\xff\x92", 4),
    ],
    ids=lambda codestream: f"{len(codestream)} bytes",
)
def test_whole_codestreams_pass(codestream) -> None:
    require_whole_jpeg2000(codestream)


@pytest.mark.parametrize(
    ("codestream", "sentence"),
    [
        (WHOLE[:2], "cut off"),
        (WHOLE[:TILE], "cut off"),
        (WHOLE[:-2], "cut off"),
        (WHOLE[:DATA], "out of order"),
        (WHOLE[:-2] + b"\0" + WHOLE[-2:], "do not end"),
        (WHOLE + b"\x01", "do not end"),
        (WHOLE[: DATA + 30] + b"\xff" * 4 + WHOLE[DATA + 34 :], "markers in their middle"),
        (with_packet(b"\xff\x91\x00\x04\x00\x00", 0), "markers in their middle"),
        (with_packet(b"\xff\x91\x00\x05\x00\x00", 2), "markers in their middle"),
        (with_packet(b"\xff\x92", 2), "markers in their middle"),
        (WHOLE.replace(b"\xff\x52", b"\xff\x64"), "impossible length"),
        (WHOLE.replace(b"\xff\x52", b"\xff\x12"), "damaged header"),
        (WHOLE.replace(b"\xff\x51", b"\xff\x64"), "no size"),
        (FOUR[: TILE + PART] + FOUR[TILE + 2 * PART :], "3 of 4 tiles"),
        (FOUR[: TILE + PART] + FOUR[TILE : TILE + PART] + FOUR[TILE + PART :], "out of order"),
        (FOUR[: TILE + 4] + b"\x00\x09" + FOUR[TILE + 6 :], "4 of 4 tiles"),
        (WHOLE[: TILE + 11] + b"\0" + WHOLE[TILE + 12 : -2] + b"\xff\xd8", "do not end"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_told(codestream, sentence) -> None:
    with pytest.raises(DamagedCodestreamError, match=sentence):
        require_whole_jpeg2000(codestream)


@pytest.mark.parametrize(("offset", "value"), [(18, 0), (2, 0), (18, 1)])
def test_sizes_that_make_no_tiles_or_too_many(offset, value) -> None:
    size = WHOLE.index(b"\xff\x51") + 4
    damaged = bytearray(WHOLE)
    struct.pack_into(">L", damaged, size + offset, value)
    if value == 1:  # one pixel a tile, and a gigantic image
        struct.pack_into(">2L", damaged, size + 2, 1 << 20, 1 << 20)
    with pytest.raises(DamagedCodestreamError, match=r"no size|number of tiles"):
        require_whole_jpeg2000(bytes(damaged))
