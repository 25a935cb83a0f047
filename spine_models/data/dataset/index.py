"""``index/<shard>.csv``: the studies of a shard, and what their folders look like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from spine_models.csv_cells import csv_rows, csv_text
from spine_models.provenance.files import write_text
from spine_models.provenance.vouched import vouched


@dataclass(frozen=True)
class IndexRow:
    """One study of a data set.

    Attributes:
        study: id; see ``uids.study_id``.
        folder: name of its folder. This column is the one place where a folder's name that is not a UID is kept.
        files: number of files.
        rows: of the first readable slice, likewise the next two; 0 and "" if there is none.
        columns: likewise.
        transfer_syntax: likewise.
        refused_code: "" for a study that goes on.
        refused_reason: likewise.
    """

    study: str
    folder: str
    files: int = 0
    rows: int = 0
    columns: int = 0
    transfer_syntax: str = ""
    refused_code: str = ""
    refused_reason: str = ""


def write_index(path: Path, rows: Iterable[IndexRow]) -> None:
    """Write the studies of a shard as CSV."""
    write_text(path, csv_text([field.name for field in fields(IndexRow)], map(astuple, rows)))


def read_index(path: Path) -> list[IndexRow]:
    """Read what ``write_index`` wrote."""
    with vouched(path).open(encoding="utf-8", newline="") as stream:
        rows = list(csv_rows(stream))
    numbers = ("files", "rows", "columns")
    return [IndexRow(**(row | {name: int(row[name]) for name in numbers})) for row in rows]  # type: ignore[arg-type]
