"""The one mechanism that finds finished work again: a record beside the files that it describes.

A record is a JSON file that says under which key (digest of the inputs' content, the configuration and the
code) its files were made, how large they are and what they contain. It is written after them. A job first asks
``find_record``; only if that finds nothing does it do the work. Conversion, masks, crops, training and
prediction all use it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.files import read_json, replacing, write_json


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
        key: see ``spine_models.provenance.canonical.work_key``.
        files: path relative to the record's folder, to what is known of the file.
        facts: JSON values that later stages need (geometry, statistics, boxes ...).
    """

    key: str
    files: dict[str, FileFacts]
    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """Digest over content alone (files and facts, not the key): what later stages depend on."""
        return digest_json({"files": {n: f.sha256 for n, f in self.files.items()}, "facts": self.facts})


def write_array(path: Path, array: NDArray[Any]) -> FileFacts:
    """Write ``array`` as ``.npy`` in C order, atomically.

    Args:
        path: the file to write.
        array: at least one axis; axis 0 is the slice axis of the checksums.
    """
    array = np.ascontiguousarray(array)
    with replacing(path) as temporary:
        np.save(temporary, array, allow_pickle=False)
        digest = digest_file(temporary)
        size = temporary.stat().st_size
    return FileFacts(size, digest, _slice_checksums(array))


def file_facts(path: Path) -> FileFacts:
    """Describe a file that is no array."""
    return FileFacts(path.stat().st_size, digest_file(path))


def write_record(path: Path, key: str, files: Mapping[str, FileFacts], facts: Mapping[str, Any]) -> Record:
    """Write the record of files that are already there; call it last."""
    record = Record(key, dict(files), dict(facts))
    write_json(path, asdict(record))
    return record


def read_record(path: Path) -> Record:
    """Read a record that an earlier stage wrote.

    Raises:
        UserError: if it is missing or damaged.
    """
    try:
        raw = read_json(path)
        files = {name: FileFacts(**facts) for name, facts in raw["files"].items()}
        return Record(raw["key"], files, raw["facts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is missing or damaged: {_repair(path)}") from None


def find_record(path: Path, key: str) -> Record | None:
    """Return the record at ``path`` if it was made under ``key`` and all its files are intact, else None."""
    try:
        record = read_record(path)
    except UserError:
        return None
    if record.key != key:
        return None
    intact = all(_is_intact(path.parent / name, facts) for name, facts in record.files.items())
    return record if intact else None


class ArrayReader:
    """Opens arrays as memory maps and checks each one's checksums the first time this reader touches it."""

    def __init__(self) -> None:
        self._checked: set[Path] = set()

    def open(self, record_path: Path, name: str) -> NDArray[Any]:
        """Open the array ``name`` of the record at ``record_path`` read-only.

        Raises:
            UserError: if the array is missing or differs from its record; the sentence says how to repair it.
        """
        path = record_path.parent / name
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            raise UserError(f"{path} is missing or damaged: {_repair(record_path)}") from None
        if path not in self._checked:
            facts = read_record(record_path).files.get(name)
            if facts is None or facts.crc32 != _slice_checksums(array):
                raise UserError(f"{path} differs from its checksums: {_repair(record_path)}")
            self._checked.add(path)
        return array


def _slice_checksums(array: NDArray[Any]) -> list[int]:
    return [zlib.crc32(np.ascontiguousarray(part).data) for part in array]


def _is_intact(path: Path, facts: FileFacts) -> bool:
    if not path.is_file() or path.stat().st_size != facts.bytes:
        return False
    return digest_file(path) == facts.sha256


def _repair(record_path: Path) -> str:
    return f"run `snakemake --force {record_path.parent}.json`, which makes what is missing anew"
