"""A damaged JPEG-lossless or JPEG 2000 frame: what can be known of the damage must be known.

JPEG-lossless frames are decoded beside it a bit at a time, as the standard writes it down: what that cannot decode must
be refused, and what it decodes must be read with its values, or refused because they do not fit into their bits. Of
JPEG 2000 is asked what its structure tells: bytes that packets never hold, and lengths.
"""

from __future__ import annotations

import random
import struct
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.uid import JPEG2000Lossless, JPEGLossless

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dicom.file import UnreadableFileError
from spine_models.data.dicom.headers import read_headers
from spine_models.data.dicom.pixels import read_hounsfield
from tests.data.dicom_builder import encoded, make_slice
from tests.data.lossless_jpeg import Coding, NotDecodableError, decode, encode

CODINGS = (
    Coding(),
    Coding(restart_rows=1),
    Coding(12, 1, 0, 5),
    Coding(16, 7, 0, 11),
    *(Coding(12 + predictor % 5, predictor) for predictor in range(2, 8)),
    Coding(8, 4),
    Coding(16, 6, 3, 2),
)
SHAPE = (36, 40)
_PIXEL_DATA = b"\xe0\x7f\x10\x00"


@cache
def original(coding: Coding | None, signed: bool) -> tuple[bytes, bytes, NDArray[np.integer]]:
    """Return a file up to its first item, its frame and its pixels; without coding, of JPEG 2000."""
    precision = coding.precision if coding else 16
    draw = np.random.default_rng(precision)
    walk = np.cumsum(draw.integers(-5, 6, SHAPE), axis=1)
    values = np.clip(walk * (1 << precision) // 256, -(1 << (precision - 1)), (1 << (precision - 1)) - 1)
    if coding:
        values = values >> coding.point_transform << coding.point_transform
    if not signed:
        values += 1 << (precision - 1)
    stored = values.astype(f"<{'i' if signed else 'u'}2")
    file = encoded(make_slice(stored, BitsStored=precision, HighBit=precision - 1, RescaleSlope=1), JPEG2000Lossless)
    at = file.index(_PIXEL_DATA) + 12
    if coding is None:
        return file[:at], get_frame(file[at:], 0, number_of_frames=1), stored
    frame = encode(stored.view("<u2") & ((1 << precision) - 1), coding, (1, 2, 3, 0, *range(4, 17)))
    return file[:at].replace(JPEG2000Lossless.encode(), JPEGLossless.encode()), frame, stored


def damage(rng: random.Random, frame: bytes) -> bytes:
    """Change a frame somewhere."""
    how = rng.choice(("ones", "one", "flip", "zeros", "repeat", "restart", "remove", "insert", "cut", "exchange"))
    buffer, at = bytearray(frame), rng.randrange(2, len(frame) - 2)
    length = rng.choice((1, 2, 4, 16))
    if how == "ones":
        buffer[at : at + 4] = b"\xff" * 4
    elif how == "one":
        buffer[at] = 0xFF
    elif how == "flip":
        buffer[at] ^= 1 << rng.randrange(8)
    elif how == "zeros":
        buffer[at : at + length] = bytes(length)
    elif how == "repeat":
        buffer[at : at + length] = buffer[at - length : at]
    elif how == "restart":
        buffer[at : at + 2] = bytes((0xFF, 0xD0 + rng.randrange(8)))
    elif how == "remove":
        del buffer[at : at + length]
    elif how == "insert":
        buffer[at:at] = rng.randbytes(length)
    elif how == "cut":
        del buffer[at:]
    else:
        other = rng.randrange(2, len(frame) - 2)
        buffer[at : at + length], buffer[other : other + length] = (
            buffer[other : other + length],
            buffer[at : at + length],
        )
    return bytes(buffer)


def run_case(rng: random.Random) -> str:
    """Damage a frame and read it; return "equal", "refused: code" or "unknowable", where other pixels are as good.

    Raises:
        AssertionError: if it was read although the damage could be known, or refused although it was none.
    """
    coding = rng.choice((*CODINGS, None))
    signed = rng.random() < 0.3
    head, frame, stored = original(coding, signed)
    changed = damage(rng, frame)
    read = _read(head, changed)
    if coding is None:
        packets = changed[frame.index(b"\xff\x93") + 2 :]
        return _judge_jpeg2000(b"\xff" * 4 in packets, len(changed) - len(frame), read, stored)
    return _judge_lossless(changed, coding, signed, read, stored)


def _judge_lossless(
    frame: bytes, coding: Coding, signed: bool, read: NDArray[np.integer] | StudyRefused, stored: NDArray[np.integer]
) -> str:
    try:
        expected = decode(frame)
    except NotDecodableError:
        assert isinstance(read, StudyRefused), "damage that the standard tells of was read"
        return _outcome(read, stored)
    precision = _precision(frame)
    if not isinstance(read, StudyRefused) and not _lost(expected, precision):
        assert expected.shape == stored.shape
        bits = 16 - min(precision, coding.precision)
        values = np.left_shift(expected.astype(np.uint16), bits).view("<i2" if signed else "<u2") >> bits
        assert np.array_equal(np.clip(values, -32768, 32767), read), "other values than the standard's were read"
    elif isinstance(read, StudyRefused) and expected.shape == stored.shape and precision == coding.precision:
        assert _beyond(expected, precision, signed), f"refused ({read}), but the standard allows it"
    return _outcome(read, stored)


def _precision(frame: bytes) -> int:
    return frame[frame.index(b"\xff\xc3") + 4]


def _lost(values: NDArray[np.int64], precision: int) -> bool:
    """Say whether values have bits that the decoder's output has no room for."""
    return bool(values.max() > (255 if precision <= 8 else 65535))


def _beyond(values: NDArray[np.int64], precision: int, signed: bool) -> bool:
    """Say whether values have more bits than the precision, but for an extended sign."""
    extended = (1 << 16) - (1 << (precision - 1)) if signed else 1 << 16
    return _lost(values, precision) or bool(((values >= 1 << precision) & (values < extended)).any())


def _judge_jpeg2000(
    ones: bool, grown: int, read: NDArray[np.integer] | StudyRefused, stored: NDArray[np.integer]
) -> str:
    if not isinstance(read, StudyRefused):
        assert not grown, "a codestream of another length was read"
        assert not ones, "a codestream with bytes that none holds was read"
    return _outcome(read, stored)


def _outcome(read: NDArray[np.integer] | StudyRefused, stored: NDArray[np.integer]) -> str:
    if isinstance(read, StudyRefused):
        return f"refused: {read.code.value}"
    return "equal" if np.array_equal(read, np.clip(stored, -32768, 32767)) else "unknowable"


def _read(head: bytes, frame: bytes) -> NDArray[np.int16] | StudyRefused:
    frame += b"\0" * (len(frame) % 2)
    item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(frame)) + frame
    data = head + b"\xfe\xff\x00\xe0" + bytes(4) + item + b"\xfe\xff\xdd\xe0" + bytes(4)
    with tempfile.TemporaryDirectory() as name:
        Path(name, "1.dcm").write_bytes(data)
        try:
            [header] = read_headers(Path(name), StudyFile("1.dcm", len(data), 0))
            return read_hounsfield(Path(name), header)
        except StudyRefused as refusal:
            return refusal
        except UnreadableFileError:
            raise AssertionError("the header was not damaged") from None
