"""Ways to damage bytes, tags and values."""

from __future__ import annotations

import io
import random
import struct

import pydicom
from pydicom.uid import ExplicitVRLittleEndian

ABSURD_TEXT = (
    "",
    "-1",
    "0",
    "nan",
    "inf",
    "1e308",
    "1e-308",
    "9" * 400,
    "1\\2",
    "\\\\\\\\",
    "0,5",
    "\0\0",
    "ABC",
    "1.0e+00 ",
)
ABSURD_SHORT = (0, 1, 2, 3, 7, 12, 15, 16, 17, 255, 4097, 32767, 32768, 65535)


def damage_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip bits, overwrite, insert, remove or cut off."""
    if not data:
        return data
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = _place(rng, len(buffer))
        match rng.randrange(6):
            case 0 | 1:
                buffer[at] ^= 1 << rng.randrange(8)
            case 2:
                buffer[at] = rng.choice((0, 0xFF, rng.randrange(256)))
            case 3:
                buffer[at : at + 4] = struct.pack("<L", rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 1 << 24)))
            case 4:
                del buffer[at : at + rng.choice((1, 2, 4, 8, 100))]
            case 5:
                buffer[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 64)))
        if not buffer:
            break
    if rng.random() < 0.15:
        del buffer[rng.randrange(len(buffer) + 1) :]
    return bytes(buffer)


def _place(rng: random.Random, length: int) -> int:
    """Headers are where the damage is interesting: half of it is in the first 1,500 bytes."""
    return rng.randrange(min(length, 1500) if rng.random() < 0.5 else length)


def damage_tags(rng: random.Random, data: bytes) -> bytes:
    """Remove tags, or give them absurd values, in a file that is otherwise well formed."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    encoded = _element_offsets(data)
    del dataset
    buffer = bytearray(data)
    for start, value_at, length in rng.sample(encoded, min(len(encoded), rng.choice((1, 1, 2, 4)))):
        text = rng.choice(ABSURD_TEXT).encode()[:length].ljust(length)
        short = struct.pack("<H", rng.choice(ABSURD_SHORT)) * (length // 2 + 1)
        match rng.randrange(4):
            case 0:
                buffer[start : start + 2] = b"\x09\x00"  # the tag becomes a private one: as good as removed
            case 1:
                buffer[value_at : value_at + length] = text
            case 2:
                buffer[value_at : value_at + length] = short[:length]
            case 3:
                buffer[value_at - 2 : value_at] = struct.pack("<H", rng.choice(ABSURD_SHORT))
    return bytes(buffer)


def _element_offsets(data: bytes) -> list[tuple[int, int, int]]:
    """(start, start of the value, its length) of the short elements before the pixels, in explicit little endian."""
    syntax = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).file_meta.TransferSyntaxUID
    if syntax != ExplicitVRLittleEndian and not syntax.is_compressed:
        return [(at, at + 8, 4) for at in range(400, min(len(data), 900), 37)]
    found, at = [], 132
    while at + 8 <= len(data):
        group, _, vr, length = struct.unpack_from("<HH2sH", data, at)
        if group == 0x7FE0:
            break
        if vr in (b"OB", b"SQ", b"UN", b"OW"):
            at += 12 + struct.unpack_from("<L", data, at + 8)[0]
            continue
        if length and group > 2:
            found.append((at, at + 8, length))
        at += 8 + length
    return found


def damage_text(rng: random.Random, text: str) -> str:
    """Change characters, words and lines of a text file."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                lines.insert(at, rng.choice(lines))
            case 1:
                del lines[at]
            case 2:
                cells = lines[at].split(",")
                cells[rng.randrange(len(cells))] = rng.choice((*ABSURD_TEXT, "1.2.3", "2", " 1 ", '"', "\ufeff", "\r"))
                lines[at] = ",".join(cells)
            case 3:
                rng.shuffle(lines)
            case 4:
                lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
            case 5:
                place = rng.randrange(len(text) + 1)
                text = text[:place] + rng.choice((",", '"', "\0", "\r", "é", "\n", ";", "\t")) + text[place:]
                continue
        text = "\n".join(lines)
    return text
