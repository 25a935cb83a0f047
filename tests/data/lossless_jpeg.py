"""JPEG's lossless process as ISO 10918-1 writes it down, a bit at a time: what the fast decoder is compared with."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODE_LENGTHS = (2, 2, 3, 3, 4, 4, 5, 5, 8, 8, 8, 8, 8, 8, 8, 8, 8)


class NotDecodableError(Exception):
    """Coded data that the standard does not allow."""


@dataclass(frozen=True)
class Coding:
    """How a slice is coded; restart markers come after ``restart_rows`` rows, 0 for none."""

    precision: int = 16
    predictor: int = 1
    point_transform: int = 0
    restart_rows: int = 0


def encode(values: NDArray[np.integer], coding: Coding = Coding(), order: Sequence[int] = tuple(range(17))) -> bytes:
    """Code unsigned values (rows, columns); ``order`` gives the categories with the shortest codes first."""
    rows, columns = values.shape
    codes, code, previous = {}, 0, CODE_LENGTHS[0]
    for category, length in zip(order, CODE_LENGTHS, strict=True):
        code <<= length - previous
        codes[category] = f"{code:0{length}b}"
        code, previous = code + 1, length
    counts = bytes(CODE_LENGTHS.count(length) for length in range(1, 17))
    out = bytearray(b"\xff\xd8\xff\xc3" + struct.pack(">HBHHBBBB", 11, coding.precision, rows, columns, 1, 7, 0x11, 0))
    out += b"\xff\xc4" + struct.pack(">HB", 36, 0) + counts + bytes(order)
    if coding.restart_rows:
        out += b"\xff\xdd" + struct.pack(">HH", 4, coding.restart_rows * columns)
    out += b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 7, 0, coding.predictor, 0, coding.point_transform)
    samples = (values.astype(int) >> coding.point_transform).tolist()
    step = coding.restart_rows or rows
    for number, first in enumerate(range(0, rows, step)):
        if number:
            out += bytes((0xFF, 0xD0 + (number - 1) % 8))
        bits = "".join(_coded(samples[first : first + step], coding, codes))
        bits += "1" * (-len(bits) % 8)
        out += int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    return bytes(out + b"\xff\xd9")


def _coded(samples: list[list[int]], coding: Coding, codes: dict[int, str]) -> Iterator[str]:
    for y, row in enumerate(samples):
        for x, value in enumerate(row):
            difference = (value - _predicted(samples, y, x, coding)) & 0xFFFF
            if difference == 0x8000:
                yield codes[16]
                continue
            difference -= (difference > 0x8000) << 16
            category = abs(difference).bit_length()
            yield codes[category]
            if category:
                yield f"{difference + (difference < 0) * ((1 << category) - 1):0{category}b}"


def _predicted(samples: list[list[int]], y: int, x: int, coding: Coding) -> int:
    if x == y == 0:
        return 1 << (coding.precision - coding.point_transform - 1)
    if y == 0:
        return samples[0][x - 1]
    if x == 0:
        return samples[y - 1][0]
    a, b, c = samples[y][x - 1], samples[y - 1][x], samples[y - 1][x - 1]
    formulas = (a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)
    return formulas[coding.predictor - 1]


def decode(frame: bytes) -> NDArray[np.int64]:
    """Decode a frame of one component that has no other segments than SOF3, DHT, DRI, comments and the scan.

    Raises:
        NotDecodableError: wherever the standard leaves no way to go on.
    """
    at, interval, tables, shape, coding = 2, 0, {}, (0, 0), Coding()
    _require(frame[:2] == b"\xff\xd8")
    while True:
        _require(frame[at : at + 1] == b"\xff")
        while frame[at + 1 : at + 2] == b"\xff":
            at += 1
        _require(at + 2 <= len(frame))
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        _require(marker not in (0, 1) and not 0xD0 <= marker <= 0xD9)
        body = frame[at + 4 : at + 2 + length]
        _require(length >= 2 and len(body) == length - 2)
        at += 2 + length
        if marker == 0xC3:
            _require(len(body) == 9 and shape == (0, 0))
            coding = Coding(body[0])
            shape, component = struct.unpack(">HH", body[1:5]), body[6]
            _require(body[5] == 1 and 2 <= body[0] <= 16 and min(shape) > 0)
            _require(1 <= body[7] >> 4 <= 4 and 1 <= body[7] & 15 <= 4)
        elif marker == 0xC4:
            tables |= _tables(body)
        elif marker == 0xDD:
            _require(len(body) == 2)
            interval = int.from_bytes(body, "big")
        elif marker == 0xDA:
            break
        else:
            _require(marker == 0xFE or 0xE0 <= marker <= 0xEF or marker == 0xDB)
    _require(shape != (0, 0) and len(body) == 6 and body[:2] == bytes((1, component)) and body[4] == 0)
    _require(1 <= body[3] <= 7 and body[5] < coding.precision and body[2] >> 4 in tables)
    coding = Coding(coding.precision, body[3], body[5], interval // shape[1] if interval else shape[0])
    _require(interval % shape[1] == 0)
    return _scan(frame, at, coding, shape, tables[body[2] >> 4])


def _scan(
    frame: bytes, at: int, coding: Coding, shape: tuple[int, int], table: dict[tuple[int, int], int]
) -> NDArray[np.int64]:
    rows: list[list[int]] = []
    number = 0
    while len(rows) < shape[0]:
        bits, at = _interval(frame, at)
        count = min(coding.restart_rows, shape[0] - len(rows))
        rows += _decoded(bits, coding, (count, shape[1]), table)
        if len(rows) < shape[0]:
            _require(frame[at + 1] == 0xD0 + number % 8)
            number, at = number + 1, at + 2
    _require(frame[at + 1] == 0xD9 and not frame[at + 2 :].strip(b"\0\xff"))
    return np.array(rows, np.int64) << coding.point_transform


def _interval(frame: bytes, at: int) -> tuple[str, int]:
    """Return the bits up to the next marker, and where that is."""
    coded = bytearray()
    while True:
        _require(at + 1 < len(frame))
        if frame[at] != 0xFF:
            coded.append(frame[at])
            at += 1
        elif frame[at + 1] == 0:
            coded.append(0xFF)
            at += 2
        else:
            filled = at
            while frame[at + 1 : at + 2] == b"\xff":
                at += 1
            _require(at + 1 < len(frame) and (at == filled or frame[at + 1] != 0))
            return "".join(f"{byte:08b}" for byte in coded), at


def _decoded(bits: str, coding: Coding, shape: tuple[int, int], table: dict[tuple[int, int], int]) -> list[list[int]]:
    samples: list[list[int]] = []
    at = 0
    for y in range(shape[0]):
        samples.append([])
        for x in range(shape[1]):
            code, length = 0, 0
            while (length, code) not in table:
                _require(at < len(bits) and length < 16)
                code, length, at = code * 2 + (bits[at] == "1"), length + 1, at + 1
            category = table[length, code]
            difference = 0x8000 if category == 16 else 0
            if 0 < category < 16:
                _require(at + category <= len(bits))
                difference = int(bits[at : at + category], 2)
                difference -= (difference < 1 << (category - 1)) * ((1 << category) - 1)
                at += category
            samples[y].append((_predicted(samples, y, x, coding) + difference) & 0xFFFF)
    rest = bits[at:]
    _require(len(rest) < 8 and len({*rest}) < 2)
    return samples


def _tables(body: bytes) -> dict[int, dict[tuple[int, int], int]]:
    found = {}
    at = 0
    while at < len(body):
        counts = body[at + 1 : at + 17]
        symbols = body[at + 17 : at + 17 + sum(counts)]
        _require(len(counts) == 16 and len(symbols) == sum(counts) and max(symbols, default=0) <= 16)
        _require(len({*symbols}) == len(symbols) and body[at] & 0xEF < 4)
        table, code, place = {}, 0, 0
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                table[length, code] = symbols[place]
                code, place = code + 1, place + 1
            _require(code <= 1 << length)
            code <<= 1
        found[body[at]] = table
        at += 17 + len(symbols)
    return found


def _require(true: bool) -> None:
    if not true:
        raise NotDecodableError
