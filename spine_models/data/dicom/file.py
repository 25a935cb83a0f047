"""From a file's bytes to the elements that are asked for, whatever its preamble, encoding or damage.

pydicom parses the elements; what is done here is what its ``dcmread`` leaves open for files that nobody vouches for:
the transfer syntax is found without inflating anything, a deflated data set is inflated only up to a limit, and
values are kept as raw bytes, so that a decimal string that pydicom would refuse cannot stop the reading of others.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from spine_models.data.dataset.disk import patiently

HEAD_BYTES = (1 << 15, 1 << 20, 1 << 24)
"""How much of a file is read in search of its pixel data, one after the other. The header of an enhanced object of a
thousand frames has a few MiB."""
MAX_READ_BYTES = 1 << 28
"""What is taken into memory of the pixels of one file, or of what a deflated one inflates to; a slice of
4096 x 4096 x 4 bytes has a quarter of that. Native pixels of larger multi-frame objects are read a frame at a time."""
MAX_ELEMENTS = 10_000
"""Elements before the pixels, those inside sequences not counted; scanners write some hundred."""
_TRAILING_BYTES = 1 << 20
_PIECE = 1 << 16

PIXEL_DATA = 0x7FE00010
_PIXEL_GROUP, _ITEM_GROUP = 0x7FE0, 0xFFFE
_FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
_PREAMBLE = 128
_LONG_VRS = frozenset((b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV"))
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"BZh", b"\xfd7zXZ\0")
_TAR, _TAR_AT = b"ustar", 257
_UID = re.compile(r"[0-9.]{1,64}")


class UnreadableFileError(Exception):
    """A file that is not a DICOM object, or a damaged one; the message says which."""


class NotDicomError(UnreadableFileError):
    """A file that does not look like DICOM at all: a stray."""


class ArchiveError(UnreadableFileError):
    """A compressed file or an archive, which may hold anything."""


class FileTooLargeError(UnreadableFileError):
    """A file, or what it claims to inflate to, is larger than anything that is read here."""


class FramesMismatchError(UnreadableFileError):
    """A multi-frame object that describes more or fewer frames than it says it has."""


@dataclass(frozen=True)
class ParsedFile:
    """The elements that were asked for, and where the pixel data begin.

    Attributes:
        elements: raw elements; read them with ``dicom_values``.
        transfer_syntax: UID.
        little_endian: byte order of the elements and of native pixels.
        pixel_offset: first byte of the value of PixelData in the (inflated) data set's stream, None without pixels.
        pixel_length: bytes that its header claims, 0xFFFFFFFF for encapsulated ones.
        pixel_vr: "OB", "OW" or None (implicit).
        float_pixels: the object has floating-point pixels, which no CT image has.
    """

    elements: Dataset
    transfer_syntax: str
    little_endian: bool
    pixel_offset: int | None
    pixel_length: int
    pixel_vr: str | None
    float_pixels: bool


def parse_file(path: Path, tags: Sequence[int]) -> ParsedFile:
    """Read the elements ``tags`` of a file; of a large file only its beginning is read where that suffices.

    Raises:
        NotDicomError: if it is something else.
        FileTooLargeError: if it is, or inflates to, more than ``MAX_READ_BYTES``.
        UnreadableFileError: if it is damaged before its pixel data.
        DiskError: if the disk does not give it.
    """
    return patiently(lambda: _parse_path(path, tags), "a file of the study")


def _parse_path(path: Path, tags: Sequence[int]) -> ParsedFile:
    with path.open("rb") as stream:
        for length in HEAD_BYTES:
            head = stream.read(length)
            syntax, body = _meta(head, _start_of(head))
            if syntax == DeflatedExplicitVRLittleEndian:
                stream.seek(body)
                return _parse_deflated(stream, tags)
            encoding = _encoding(head, body, syntax)
            syntax = syntax or _syntax_of(*encoding)
            parsed = _parse(head, body, syntax, encoding, tags, complete=len(head) < length)
            if parsed is not None:
                return parsed
            stream.seek(0)
    raise _endless_header()


def _parse_deflated(stream: IO[bytes], tags: Sequence[int]) -> ParsedFile:
    """Parse the beginning of a deflated data set, and inflate the rest without keeping it, to see that it is whole."""
    pieces, head, parsed = _inflated(stream), bytearray(), None
    for length in HEAD_BYTES:
        ended = _filled(head, pieces, length)
        syntax = str(DeflatedExplicitVRLittleEndian)
        parsed = _parse(bytes(head), 0, syntax, (False, True), tags, complete=ended)
        if parsed is not None:
            break
    if parsed is None:
        raise _endless_header()
    left = min((parsed.pixel_offset or 0) + parsed.pixel_length + _TRAILING_BYTES, MAX_READ_BYTES) - len(head)
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise FileTooLargeError("its deflated data set inflates to more than its header claims")
    return parsed


def _endless_header() -> FileTooLargeError:
    return FileTooLargeError(f"its header does not end within {HEAD_BYTES[-1] >> 20} MiB")


def read_range(path: Path, syntax: str, start: int, length: int | None) -> bytes:
    """Read bytes that ``ParsedFile.pixel_offset`` counts: of the file, or of its inflated data set.

    Args:
        path: the file.
        syntax: its transfer syntax.
        start: first byte.
        length: number of bytes, None for all that follow.

    Raises:
        FileTooLargeError: if that is more than ``MAX_READ_BYTES``.
        UnreadableFileError: if it cannot be inflated.
        DiskError: if the disk does not give it.
    """

    def read() -> bytes:
        with path.open("rb") as stream:
            if syntax == DeflatedExplicitVRLittleEndian:
                return _read_deflated(stream, start, length)
            stream.seek(start)
            return stream.read(MAX_READ_BYTES + 1 if length is None else length)

    data = patiently(read, "a file of the study")
    if len(data) > MAX_READ_BYTES:
        raise FileTooLargeError(f"its pixels have more than {MAX_READ_BYTES >> 20} MiB")
    return data


def _read_deflated(stream: IO[bytes], start: int, length: int | None) -> bytes:
    head = stream.read(HEAD_BYTES[0])
    stream.seek(_meta(head, _start_of(head))[1])
    end = MAX_READ_BYTES if length is None else start + length
    data = bytearray()
    if not _filled(data, _inflated(stream), end) and length is None:
        raise FileTooLargeError(f"its deflated data set inflates to more than {MAX_READ_BYTES >> 20} MiB")
    return bytes(data[start:end])


def _inflated(stream: IO[bytes]) -> Iterator[bytes]:
    """Inflate a raw deflate stream (DICOM PS3.5 section A.5) in pieces of at most 1 MiB.

    Raises:
        UnreadableFileError: if it is damaged or cut off.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not inflater.eof:
            data = inflater.unconsumed_tail or stream.read(_PIECE)
            if not data:
                raise UnreadableFileError("its deflated data set is cut off")
            yield inflater.decompress(data, 1 << 20)
    except zlib.error:
        raise UnreadableFileError("its deflated data set is damaged") from None


def _filled(data: bytearray, pieces: Iterator[bytes], length: int) -> bool:
    """Append pieces to ``data`` until it has ``length`` bytes; say whether there are no more."""
    while len(data) < length:
        piece = next(pieces, None)
        if piece is None:
            return True
        data += piece
    return False


def _start_of(data: bytes) -> int:
    if data[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return _PREAMBLE + 4
    if data[:4] == b"DICM":
        return 4
    if len(data) >= 8 and _looks_like_element(data):
        return 0
    if data.startswith(_ARCHIVES) or data[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        raise ArchiveError("it is an archive or a compressed file")
    raise NotDicomError("it is not a DICOM file")


def _looks_like_element(data: bytes) -> bool:
    """Without preamble: the first element must belong to group 2 or 8 and have a low element number."""
    for order in ("<", ">"):
        group, element = struct.unpack_from(order + "HH", data)
        if group in (0x0002, 0x0008) and element <= 0x0100:
            return True
    return False


def _meta(data: bytes, start: int) -> tuple[str, int]:
    """Return the transfer syntax ("" if not given) and where the data set starts (DICOM PS3.10 section 7.1)."""
    syntax, at = "", start
    while at + 8 <= len(data):
        group, element, vr, length = struct.unpack_from("<HH2sH", data, at)
        if group != 0x0002:
            break
        header = 8
        if vr in _LONG_VRS:
            if at + 12 > len(data):
                break
            (length,) = struct.unpack_from("<L", data, at + 8)
            header = 12
        elif not vr.isalpha():
            (length,) = struct.unpack_from("<L", data, at + 4)
        value = data[at + header : at + header + length]
        if element == 0x0010:
            syntax = value.decode("ascii", "replace").strip("\0 ")
            if syntax and not _UID.fullmatch(syntax):
                raise UnreadableFileError("its transfer syntax is not a UID")
        at += header + length
    return syntax, at


def _encoding(data: bytes, body: int, syntax: str) -> tuple[bool, bool]:
    """Return (implicit VR, little endian) as the first element shows; the meta header is not always right about the VR.

    pydicom, GDCM and dcm2niix all read such files: two capital letters where the VR would be mean that it is there.
    """
    first = data[body : body + 8]
    if syntax == ExplicitVRBigEndian:
        if first[1:2] == b"\0" and first[:1] != b"\0":
            raise UnreadableFileError("its byte order is not the one that its transfer syntax says")
        return False, False
    if len(first) < 8 and syntax:
        return syntax == ImplicitVRLittleEndian, True
    if len(first) < 8:
        raise UnreadableFileError("it ends before its data set")
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    little = bool(syntax) or struct.unpack("<H", first[:2])[0] <= 0x00FF or first[0] != 0
    return not explicit, little if explicit else True


def _syntax_of(implicit: bool, little: bool) -> str:
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _parse(
    data: bytes, body: int, syntax: str, encoding: tuple[bool, bool], tags: Sequence[int], complete: bool
) -> ParsedFile | None:
    stream = io.BytesIO(data)
    stream.seek(body)
    found: dict[str, Any] = {}
    count = 0

    def stop(tag: int, vr: str | None, length: int) -> bool:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise FileTooLargeError(f"its header has more than {MAX_ELEMENTS} elements")
        if tag >> 16 == _ITEM_GROUP:
            raise UnreadableFileError("a length in its header is wrong: items follow where elements should")
        if tag >> 16 != _PIXEL_GROUP:  # called for every element: a shift is ten times as fast as pydicom's ==
            return False
        is_pixels = int(tag) == PIXEL_DATA or int(tag) in _FLOAT_PIXELS
        if is_pixels:
            found.update(tag=int(tag), vr=vr, length=length, offset=stream.tell())
        return is_pixels

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            elements = read_dataset(stream, *encoding, stop_when=stop, specific_tags=list(tags))
    except (UnreadableFileError, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds on damaged bytes
        if complete:
            raise UnreadableFileError(f"its header is damaged ({type(error).__name__})") from None
        return None
    if not found and not complete:
        return None
    if not found and stream.tell() < len(data):
        raise UnreadableFileError("its header ends before the file does")
    is_float = found.get("tag") in _FLOAT_PIXELS
    offset = None if is_float else found.get("offset")
    return ParsedFile(elements, syntax, encoding[1], offset, found.get("length", 0), found.get("vr"), is_float)
