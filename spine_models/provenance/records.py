"""The one mechanism that finds finished work again: a record beside the files that it describes.

A record is a JSON file that says under which key (the inputs' content, the configuration and the code) its files were
made, how large they are and what they contain; it holds a digest of itself. It is written after them. A job first
asks ``find_record``; only if that finds nothing does it do the work. Conversion, masks, crops, training and prediction
all use it, and say at the end of their log how much each of the two was (``Work``). ``vouched.py`` uses the same record
for single files.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spine_models.errors import UserError
from spine_models.log import say
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.files import replacing
from spine_models.provenance.keys import Key
from spine_models.provenance.sealed import BrokenSealError, read_sealed, write_sealed

Found = TypeVar("Found")


@dataclass(frozen=True)
class FileFacts:
    """What is known of one file: its size, its SHA-256 and, for arrays, a CRC-32 for each slice of axis 0."""

    bytes: int
    sha256: str
    crc32: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Record:
    """What was made under a key.

    Attributes:
        key: what the files depend on.
        files: path relative to the record's folder, to what is known of the file.
        facts: JSON values that later stages need (geometry, statistics, boxes ...).
    """

    key: Key
    files: dict[str, FileFacts]
    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """Digest over content only (files and facts, not the key): what later stages depend on."""
        return digest_json({"files": {n: f.sha256 for n, f in self.files.items()}, "facts": self.facts})

    def parts(self) -> dict[str, Any]:
        """Return what the record's file holds, but for the digest of itself."""
        return {**asdict(self), "key": self.key.parts()}


def write_array(path: Path, array: NDArray[Any]) -> FileFacts:
    """Write ``array`` as ``.npy`` in C order, atomically.

    Args:
        path: the file to write.
        array: at least one axis; axis 0 is the slice axis of the checksums.
    """
    array = np.ascontiguousarray(array)
    with writing_array(path, array.shape, array.dtype) as slices:
        for part in array:
            slices.write(part)
    return slices.facts


class ArraySlices:
    """An array's file, written slice by slice and described meanwhile: what is described is what was written.

    Args:
        shape: of the array; the first axis counts the slices.
        dtype: of the array.
        write: takes the bytes of the file.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], write: Callable[[Any], object]) -> None:
        self._dtype, self._write, self._sha = dtype, write, hashlib.sha256()
        self._bytes, self._checksums = 0, list[int]()
        header = BytesIO()
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        self._put(header.getvalue())

    def write(self, part: NDArray[Any]) -> None:
        """Write the next slice."""
        data = np.ascontiguousarray(part, self._dtype).reshape(-1).view(np.uint8).data
        self._put(data)
        self._checksums.append(zlib.crc32(data))

    def _put(self, data: bytes | memoryview) -> None:
        self._write(data)
        self._sha.update(data)
        self._bytes += len(data)

    @property
    def facts(self) -> FileFacts:
        """What the record says of the file, once all slices are written."""
        return FileFacts(self._bytes, self._sha.hexdigest(), self._checksums)


@contextmanager
def writing_array(path: Path | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[ArraySlices]:
    """Write an array as ``.npy`` slice by slice, atomically: where the block fails, nothing is written.

    Args:
        path: the file to write; None describes it and writes nothing.
        shape: of the array.
        dtype: of the array.
    """
    if path is None:
        yield ArraySlices(shape, dtype, len)
        return
    with replacing(path) as temporary, temporary.open("wb") as stream:
        yield ArraySlices(shape, dtype, stream.write)


def is_array(array: NDArray[Any], facts: FileFacts) -> bool:
    """Say whether ``array`` has the checksums of ``facts``."""
    return facts.crc32 == _slice_checksums(array)


def file_facts(path: Path) -> FileFacts:
    """Describe a file that is not an array."""
    return FileFacts(path.stat().st_size, digest_file(path))


def write_record(path: Path, key: Key, files: Mapping[str, FileFacts], facts: Mapping[str, Any]) -> Record:
    """Write the record of files that are already there; call it last."""
    record = Record(key, dict(files), dict(facts))
    write_sealed(path, record.parts())
    return record


def read_record(path: Path, digest: str | None = None) -> Record:
    """Read a record that an earlier stage wrote.

    Args:
        path: of the record.
        digest: of the record's content, where a manifest says what it is.

    Raises:
        UserError: if it is missing, damaged, differs from the digest of itself or has another content than ``digest``.
    """
    try:
        raw = read_sealed(path)
        files = {name: FileFacts(**facts) for name, facts in raw["files"].items()}
        record = Record(Key(**raw["key"]), files, raw["facts"])
    except BrokenSealError:
        raise UserError(f"{path} differs from its digest: {_repair(path)}") from None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is missing or damaged: {_repair(path)}") from None
    if digest not in (None, record.digest):
        raise UserError(f"{path} is not the one that {path.parent}.json names: {_repair(path)}")
    return record


def find_record(path: Path, key: Key, *, dropped: bool = False) -> Record | None:
    """Return the record at ``path`` if it was made under ``key`` and all its files are intact, else None.

    Args:
        path: of the record.
        key: what the work depends on now.
        dropped: files may be absent, because nothing needs them any more; those that are there must be intact.
    """
    try:
        record = read_record(path)
    except UserError:
        return None
    if record.key.digest != key.digest:
        return None
    files = [(path.parent / name, facts) for name, facts in record.files.items()]
    intact = all((dropped and not file.exists()) or is_intact(file, facts) for file, facts in files)
    return record if intact else None


class Work:
    """What a job really does: how much it makes, and how much it finds finished.

    Args:
        stage: name of the rule.
        unit: what is counted, in the plural.
    """

    def __init__(self, stage: str, unit: str = "studies") -> None:
        self._stage, self._unit = stage, unit
        self._made = self._reused = 0

    def result(self, path: Path, key: Key, make: Callable[[], Record]) -> Record:
        """Return the record at ``path`` if it was made under ``key`` and is intact; otherwise ``make`` it."""
        return self.count(find_record(path, key), make)

    def count(self, found: Found | None, make: Callable[[], Found]) -> Found:
        """Return ``found``; where there is nothing, ``make`` it."""
        if found is not None:
            self._reused += 1
            return found
        made = make()
        self._made += 1
        return made

    def say(self, refused: int = 0) -> None:
        """Write to the log how much was made, reused and refused."""
        total = self._made + self._reused + refused
        more = f", {refused} refused" if refused else ""
        say(f"{self._stage}: {self._made} of {total} {self._unit} made, {self._reused} reused{more}")


def open_array(path: Path, name: str, record: Record, *, checked: bool = False) -> NDArray[Any]:
    """Open an array of a record as a read-only memory map.

    Args:
        path: of the record.
        name: of the array's file.
        record: what ``path`` holds.
        checked: the caller has compared the checksums before.

    Raises:
        UserError: if the array is missing or differs from its record; the sentence says how to repair it.
    """
    file = path.parent / name
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UserError(f"{file} is missing or damaged: {_repair(path)}") from None
    facts = record.files.get(name)
    if not checked and (facts is None or not is_array(array, facts)):
        raise UserError(f"{file} differs from its checksums: {_repair(path)}")
    return array


def _slice_checksums(array: NDArray[Any]) -> list[int]:
    return [zlib.crc32(np.ascontiguousarray(part).data) for part in array]


def is_intact(path: Path, facts: FileFacts) -> bool:
    """Say whether the file at ``path`` is there with the size and the content of ``facts``."""
    if not path.is_file() or path.stat().st_size != facts.bytes:
        return False
    return digest_file(path) == facts.sha256


def _repair(record_path: Path) -> str:
    return f"run `snakemake --force {record_path.parent}.json`, which makes what is missing anew"
