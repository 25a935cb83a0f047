"""Whether a JPEG or JPEG-LS frame is built as it must be, which decoders are lenient about."""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

LOSSLESS_FRAME = 0xC3
_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7))
_JPEG_LS_FRAME = 0xF7
_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_WITHOUT_LENGTH = frozenset((0x00, 0x01, _SOI, *_RESTARTS))
_OF_LOSSLESS = frozenset((LOSSLESS_FRAME, 0xC4, 0xDB, _DRI, 0xFE, *range(0xE0, 0xF0)))
_FILL = b"\0\xff"

HuffmanCodes = tuple[tuple[int, int], ...]


class DamagedCodestreamError(Exception):
    """Compressed bytes that no encoder writes; the message says what is wrong, as the end of a sentence."""


@dataclass(frozen=True)
class CodedInterval:
    """Coded data between two markers.

    Attributes:
        start: in the frame.
        end: behind the last byte.
        stuffed: how many of the bytes are stuffed ones, which code nothing.
    """

    start: int
    end: int
    stuffed: int

    @property
    def bits(self) -> int:
        """Bits of code, with those that fill up the last byte."""
        return 8 * (self.end - self.start - self.stuffed)

    def last_bytes(self, frame: bytes, count: int) -> bytes:
        """Return ``count`` bytes or more from the end of the interval, as far as it has them, without stuffed ones."""
        return frame[max(self.start, self.end - 2 * count) : self.end].replace(b"\xff\0", b"\xff")


@dataclass(frozen=True)
class JpegScan:
    """Coded data that follow a scan header.

    Attributes:
        header: the parameters of SOS.
        intervals: between restart markers.
    """

    header: bytes
    intervals: tuple[CodedInterval, ...]


@dataclass
class JpegStructure:
    """A frame taken apart at its markers.

    Attributes:
        segments: markers with their parameters, in order, scan headers left out.
        scans: the scans.
    """

    segments: list[tuple[int, bytes]] = field(default_factory=list)
    scans: list[JpegScan] = field(default_factory=list)

    def of(self, marker: int) -> list[bytes]:
        """Return the parameters of all segments with this marker."""
        return [parameters for kind, parameters in self.segments if kind == marker]

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """The frame headers: one in every frame that DICOM allows."""
        return [segment for segment in self.segments if segment[0] in _FRAMES]

    @property
    def restart_interval(self) -> int:
        """Samples (or blocks) between restart markers, 0 without them."""
        announced = self.of(_DRI)
        return int.from_bytes(announced[-1], "big") if announced else 0


def jpeg_structure(frame: bytes) -> JpegStructure:
    """Take a frame apart: lengths of all segments, markers inside of coded data, restarts in order, the end.

    ISO 10918-1 annex B; in JPEG-LS (ISO 14495-1 section C.1), a byte with a highest bit of 0 follows each 0xFF of coded
    data, in JPEG a zero.

    Raises:
        DamagedCodestreamError: if it is not built as it must be.
    """
    found = JpegStructure()
    if frame[:2] != bytes((0xFF, _SOI)):
        raise DamagedCodestreamError("have no beginning")
    at = 2
    while True:
        marker, at = _marker(frame, at)
        if marker == _EOI:
            break
        if marker in _WITHOUT_LENGTH:
            raise DamagedCodestreamError("have a marker where none may be")
        length = int.from_bytes(frame[at : at + 2], "big")
        if length < 2 or at + length > len(frame):
            raise DamagedCodestreamError("have a segment of an impossible length")
        parameters = frame[at + 2 : at + length]
        at += length
        if marker == _SOS:
            scan, at = _scan(frame, at, parameters, found)
            found.scans.append(scan)
        else:
            found.segments.append((marker, parameters))
    if frame[at:].strip(_FILL):
        raise DamagedCodestreamError("go on behind their end")
    if len(found.frames) != 1 or not found.scans:
        raise DamagedCodestreamError("have no frame, or several")
    return found


def _marker(frame: bytes, at: int) -> tuple[int, int]:
    """Return the marker at a place, behind any fill bytes, and where it ends."""
    if frame[at : at + 1] != b"\xff":
        raise DamagedCodestreamError("are cut off" if at >= len(frame) else "have no marker where one must be")
    while frame[at : at + 1] == b"\xff":
        at += 1
    if at >= len(frame):
        raise DamagedCodestreamError("are cut off")
    return frame[at], at + 1


def _scan(frame: bytes, start: int, header: bytes, found: JpegStructure) -> tuple[JpegScan, int]:
    """Walk over coded data; return them and where the marker is that ends them."""
    least_marker = 0x80 if found.of(_JPEG_LS_FRAME) else 0x01
    codes = np.frombuffer(frame, np.uint8)
    escapes = np.flatnonzero(codes[start:-1] == 0xFF) + start
    following = codes[escapes + 1]
    stuffed = escapes[following < least_marker].tolist()
    intervals, begin = [], start
    for place in escapes[following >= least_marker].tolist():
        if place < begin:  # a fill byte before the marker that was found last
            continue
        marker, after = _marker(frame, place)
        if marker < least_marker:
            raise DamagedCodestreamError("have 0xFF bytes in their middle")
        if place == begin:
            raise DamagedCodestreamError("have markers without coded data between them")
        inside = bisect_left(stuffed, place) - bisect_left(stuffed, begin)
        intervals.append(CodedInterval(begin, place, inside))
        if marker not in _RESTARTS:
            return JpegScan(header, tuple(intervals)), place
        if not found.restart_interval or marker != _RESTARTS[(len(intervals) - 1) % len(_RESTARTS)]:
            raise DamagedCodestreamError("have restart markers that are out of order")
        begin = after
    raise DamagedCodestreamError("are cut off")


@dataclass(frozen=True)
class LosslessParameters:
    """What a scan of JPEG's lossless process says of itself (ISO 10918-1 annex H).

    Attributes:
        precision: bits a sample.
        predictor: selection value, 1 to 7.
        point_transform: low bits that were cut off.
        restart_rows: rows between restart markers; all rows without them.
        codes: Huffman codes of the categories of differences, 0 to 16: bits and code; no bits where there is none.
    """

    precision: int
    predictor: int
    point_transform: int
    restart_rows: int
    codes: HuffmanCodes


def lossless_parameters(structure: JpegStructure) -> LosslessParameters:
    """Read the parameters of a frame with one component and one scan.

    Raises:
        DamagedCodestreamError: if they contradict the standard or one another.
    """
    [(marker, frame)] = structure.frames
    others = {kind for kind, _ in structure.segments} - _OF_LOSSLESS
    if marker != LOSSLESS_FRAME or len(structure.scans) != 1 or len(frame) != 9 or others:
        raise DamagedCodestreamError("are not a single scan of one component")
    precision, rows, columns, components, component = struct.unpack_from(">BHHBB", frame)
    [scan] = structure.scans
    if components != 1 or len(scan.header) != 6 or scan.header[:2] != bytes((1, component)):
        raise DamagedCodestreamError("are not a single scan of one component")
    _, _, tables, predictor, last, transform = scan.header
    if not (2 <= precision <= 16 and 1 <= predictor <= 7 and last == 0 and transform < precision):
        raise DamagedCodestreamError("have an impossible predictor, precision or point transform")
    interval = structure.restart_interval or rows * columns
    if interval % columns or len(scan.intervals) != -(-rows * columns // interval):
        raise DamagedCodestreamError("have restart markers that are out of order")
    codes = _huffman_tables(structure).get(tables >> 4)
    if codes is None:
        raise DamagedCodestreamError("have no Huffman table")
    return LosslessParameters(precision, predictor, transform, interval // columns, codes)


def _huffman_tables(structure: JpegStructure) -> dict[int, HuffmanCodes]:
    """Return the codes of each table (ISO 10918-1 section B.2.4.2 and annex C)."""
    found = {}
    for parameters in structure.of(0xC4):
        at = 0
        while at < len(parameters):
            counts = parameters[at + 1 : at + 17]
            symbols = parameters[at + 17 : at + 17 + sum(counts)]
            room = sum(count << (16 - length) for length, count in enumerate(counts, 1))
            if len(counts) < 16 or len(symbols) < sum(counts) or room > 1 << 16 or len({*symbols}) < len(symbols):
                raise DamagedCodestreamError("have a damaged Huffman table")
            if max(symbols, default=0) > 16:
                raise DamagedCodestreamError("have a Huffman table of another process")
            found[parameters[at]] = _huffman_codes(counts, symbols)
            at += 17 + len(symbols)
    return found


def _huffman_codes(counts: bytes, symbols: bytes) -> HuffmanCodes:
    codes, code, place = [(0, 0)] * 17, 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[place : place + count]:
            codes[symbol] = length, code
            code += 1
        code, place = code << 1, place + count
    return tuple(codes)
