"""Files that are stored, byte for byte, inside one file: zip archives without compression."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spine_models.errors import UserError
from spine_models.provenance.files import replacing

SUFFIX = ".zip"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""Of an entry, before its name (APPNOTE.TXT of PKWARE, 4.3.7)."""
_SIGNATURE = b"PK\3\4"
_MOST_ENTRIES = 2000
_ENCRYPTED = 0x1
_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


@dataclass(frozen=True)
class PackedFile:
    """A file inside an archive.

    Attributes:
        archive: the file that holds it.
        name: its own.
        offset: where its bytes begin.
        size: how many there are.
    """

    archive: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """Open it to be read; ``mode`` is "rb", as that of ``Path.open``."""
        return io.BufferedReader(_Part(self))


AnyFile = Path | PackedFile


def size_of(file: AnyFile) -> int:
    """Return the bytes of a file."""
    return file.size if isinstance(file, PackedFile) else file.stat().st_size


class _Part(io.RawIOBase):
    """The bytes of a packed file."""

    def __init__(self, file: PackedFile) -> None:
        self._stream = file.archive.open("rb")
        self._stream.seek(file.offset)
        self._left = file.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        read = self._stream.readinto(memoryview(buffer)[: self._left])  # a slice of a bytearray is a copy
        self._left -= read
        return read

    def close(self) -> None:
        self._stream.close()
        super().close()


def read_archive(path: Path) -> dict[str, PackedFile]:
    """Return the files that an archive holds, by name; nothing of them is read.

    Raises:
        UserError: if it is not a zip archive, is damaged, compressed or encrypted, holds folders, links, a name twice,
            or entries that lie beyond its end or inside one another.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OverflowError):
        raise UserError(f"{path} is not a zip archive, or is damaged: copy it again") from None
    problem = _problem(entries)
    if problem:
        raise UserError(f"{path} cannot be read: {problem}; `spine-models bundle pack` makes one that can")
    found = {entry.filename: _located(path, entry) for entry in entries}
    end = 0
    for file in sorted(found.values(), key=lambda file: file.offset):
        if file.offset < end or file.offset + file.size > path.stat().st_size:
            raise UserError(f"{path} is damaged: {file.name} lies inside another file or beyond the end; copy it again")
        end = file.offset + file.size
    return found


def _problem(entries: list[zipfile.ZipInfo]) -> str | None:
    names = [entry.filename for entry in entries]
    if len(entries) > _MOST_ENTRIES:
        return f"it holds {len(entries)} files, and {_MOST_ENTRIES} at most are read"
    if len(set(names)) < len(names):
        return "it holds two files of one name"
    for entry in entries:
        if entry.is_dir() or "/" in entry.filename or "\\" in entry.filename:
            return "it holds folders, and its files have to be beside one another"
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            return "its files are compressed, and they have to be stored as they are (zip -0)"
        if entry.flag_bits & _ENCRYPTED:
            return "its files are encrypted"
    return None


def _located(path: Path, entry: zipfile.ZipInfo) -> PackedFile:
    """Find the bytes of an entry, behind a header of its own that repeats its name."""
    with path.open("rb") as stream:
        stream.seek(entry.header_offset)
        header = stream.read(_LOCAL_HEADER.size)
        if len(header) == _LOCAL_HEADER.size:
            signature, *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
            if signature == _SIGNATURE and stream.read(name_bytes) == entry.orig_filename.encode("utf-8", "replace"):
                offset = entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
                return PackedFile(path, entry.filename, offset, entry.file_size)
    raise UserError(f"{path} is damaged: {entry.filename} is not where its list says; copy it again")


def write_archive(path: Path, files: Mapping[str, Path]) -> None:
    """Write an archive of ``files``, name to file, atomically and in this order; equal content gives equal bytes."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, file in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _READABLE
            entry.create_system = 3  # Unix, wherever it is written
            entry.file_size = file.stat().st_size  # more than 2 GiB are announced in the entry's own header
            with file.open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)
