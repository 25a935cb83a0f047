from __future__ import annotations

import numpy as np
import pytest
from pydicom.encaps import get_frame
from pydicom.uid import JPEGLSLossless

from spine_models.data.dicom.jpeg_structure import DamagedCodestreamError, jpeg_structure
from tests.data.dicom_builder import encoded, make_slice
from tests.data.lossless_jpeg import Coding, encode

VALUES = np.random.default_rng(2).integers(0, 1 << 16, (9, 7))
FRAME = encode(VALUES)
SCAN = FRAME.index(b"\xff\xda") + 10
RESTARTED = encode(VALUES, Coding(restart_rows=1))


def test_a_frame_is_taken_apart() -> None:
    found = jpeg_structure(RESTARTED)
    assert [marker for marker, _ in found.segments] == [0xC3, 0xC4, 0xDD]
    assert found.frames[0][0] == 0xC3
    assert found.restart_interval == 7
    [scan] = found.scans
    assert scan.header == b"\x01\x07\x00\x01\x00\x00"
    coded = [RESTARTED[part.start : part.end] for part in scan.intervals]
    assert len(coded) == 9
    joined = b"".join(b"\xff" + bytes((0xD0 + (index - 1) % 8,)) + part for index, part in enumerate(coded))[2:]
    assert RESTARTED.endswith(joined + b"\xff\xd9")
    assert [part.bits for part in scan.intervals] == [8 * len(part.replace(b"\xff\0", b"\xff")) for part in coded]
    whole = [part.last_bytes(RESTARTED, 1000) for part in scan.intervals]
    assert whole == [part.replace(b"\xff\0", b"\xff") for part in coded]


def test_fill_bytes_stand_before_any_marker() -> None:
    assert jpeg_structure(FRAME[:2] + b"\xff\xff" + FRAME[2:]).frames == jpeg_structure(FRAME).frames
    first = RESTARTED.index(b"\xff\xd0", SCAN)
    filled = RESTARTED[:first] + b"\xff\xff" + RESTARTED[first:-2] + b"\xff" + RESTARTED[-2:] + b"\0\0"
    assert [part.bits for part in jpeg_structure(filled).scans[0].intervals] == [
        part.bits for part in jpeg_structure(RESTARTED).scans[0].intervals
    ]


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (b"", "no beginning"),
        (b"\0" + FRAME, "no beginning"),
        (FRAME[:2] + b"\0" + FRAME[2:], "no marker where one must be"),
        (FRAME[:2] + b"\xff\xd8" + FRAME[2:], "where none may be"),
        (FRAME[:2] + b"\xff\xd3" + FRAME[2:], "where none may be"),
        (FRAME[:2] + b"\xff\xfe\x00\x01" + FRAME[2:], "impossible length"),
        (FRAME[:2] + b"\xff\xfe\xff\xff" + FRAME[2:], "impossible length"),
        (FRAME[:2] + FRAME[2:15] + FRAME[2:], "no frame, or several"),
        (FRAME[:2] + FRAME[15:], "no frame, or several"),
        (b"\xff\xd8\xff\xd9", "no frame, or several"),
        (FRAME[:-2], "cut off"),
        (FRAME[:-1], "cut off"),
        (FRAME[:20], "impossible length"),
        (FRAME[:2], "cut off"),
        (FRAME[:2] + b"\xff" * 4, "cut off"),
        (FRAME + b"\x01", "behind their end"),
        (FRAME + FRAME, "behind their end"),
        (FRAME[:SCAN] + b"\xff" * 4 + b"\0" + FRAME[SCAN + 5 :], "0xFF bytes in their middle"),
        (FRAME[: SCAN + 9] + b"\xff\xd0" + FRAME[SCAN + 11 :], "out of order"),
        (RESTARTED.replace(b"\xff\xd1", b"\xff\xd2"), "out of order"),
        (RESTARTED.replace(b"\xff\xd0", b"\xff\xd0\xff\xd1", 1), "without coded data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_told(frame, sentence) -> None:
    with pytest.raises(DamagedCodestreamError, match=sentence):
        jpeg_structure(frame)


def test_jpeg_ls_escapes_with_a_bit_and_not_with_a_byte() -> None:
    values = np.random.default_rng(0).integers(-3000, 3000, (64, 64)).astype("<i2")
    file = encoded(make_slice(values), JPEGLSLossless)
    frame = get_frame(file[file.index(b"\xe0\x7f\x10\x00") + 12 :], 0, number_of_frames=1)
    start = frame.index(b"\xff\xda") + 10
    escaped = [place for place in range(start, len(frame) - 4) if frame[place] == 0xFF]
    assert any(0 < frame[place + 1] < 0x80 for place in escaped)
    assert len(jpeg_structure(frame).scans) == 1
    place = next(place for place in escaped if 0 < frame[place + 1] < 0x80)
    with pytest.raises(DamagedCodestreamError):
        jpeg_structure(frame[: place + 1] + bytes((frame[place + 1] | 0x80,)) + frame[place + 2 :])
