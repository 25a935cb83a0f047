"""The tables of the studies to predict, which hold paths: only their owner may read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.csv_cells import csv_rows, write_rows
from spine_models.provenance.files import replacing
from spine_models.provenance.vouched import vouched

_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class PredictionIndex:
    """Tables of the studies to predict; ``files`` holds relative paths, maybe names: only its owner may read it."""

    files: Path
    studies: Path


def files_aside(index: PredictionIndex) -> list[tuple[str, str]]:
    """Return path and reason of every file that is of no study."""
    return [(row["path"], row["reason"]) for row in table_rows(index.files) if not row["study"]]


def write_private(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table that only its owner may read."""
    with (
        replacing(path, _OWNER_ONLY) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        write_rows(stream, header, rows)


def table_rows(path: Path) -> list[dict[str, str]]:
    """Read a table that ``write_private`` wrote, after it has been compared with its record.

    Raises:
        UserError: if it is missing or damaged.
    """
    with vouched(path).open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return list(csv_rows(stream))
