"""The first look at a shard's studies: which folders there are, and what cannot be a study at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from spine_models.data.dataset import layout, tables
from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dataset.shards import shard_of
from spine_models.data.dicom.file import UnreadableFileError
from spine_models.data.dicom.headers import SliceHeader, read_headers
from spine_models.provenance.files import write_text


@dataclass(frozen=True)
class IndexRow:
    """One study of a data set.

    Attributes:
        study: id; see ``layout.study_id``.
        folder: name of its folder. This column is the one place where a folder's name that is no UID is kept.
        files: number of files.
        bytes: of all files.
        stat_digest: see ``layout.stat_digest``.
        rows: of the first readable slice, likewise the next two; 0 and "" if there is none.
        columns: likewise.
        transfer_syntax: likewise.
        refused_code: "" for a study that goes on.
        refused_reason: likewise.
    """

    study: str
    folder: str
    files: int = 0
    bytes: int = 0
    stat_digest: str = ""
    rows: int = 0
    columns: int = 0
    transfer_syntax: str = ""
    refused_code: str = ""
    refused_reason: str = ""


@dataclass(frozen=True)
class IndexSettings:
    """How studies are listed.

    Attributes:
        shards: number of shards of the data set.
        allow_symlinks: follow links that lead out of the data set.
    """

    shards: int
    allow_symlinks: bool = False


def index_shard(dataset_dir: Path, shard: int, settings: IndexSettings) -> list[IndexRow]:
    """List the studies of one shard, sorted by folder.

    ``train.csv`` is checked on the way, so that a mistake in it stops the run before hours of conversion.

    Raises:
        UserError: if ``train.csv`` is wrong.
    """
    tables.read_train(dataset_dir / layout.TRAIN_TABLE)
    images = dataset_dir / layout.IMAGES
    names = [entry.name for entry in layout.study_folders(images)]
    mine = [name for name in names if shard_of(layout.study_id(name), settings.shards) == shard]
    return [_index_study(images, name, settings.allow_symlinks) for name in mine]


def _index_study(images_dir: Path, name: str, allow_symlinks: bool) -> IndexRow:
    study = layout.study_id(name)
    try:
        files = layout.list_study(images_dir, name, allow_symlinks)
    except StudyRefused as refused:
        return IndexRow(study, name, refused_code=refused.code.value, refused_reason=refused.reason)
    row = IndexRow(study, name, len(files), sum(file.size for file in files), layout.stat_digest(files))
    header = _first_header(images_dir / name, files)
    if header is None:
        return row
    return replace(row, rows=header.rows, columns=header.columns, transfer_syntax=header.transfer_syntax)


def _first_header(folder: Path, files: Iterable[StudyFile]) -> SliceHeader | None:
    for file in files:
        try:
            header = read_headers(folder, file)[0]
        except UnreadableFileError:
            continue
        if header.rows and header.columns:
            return header
    return None


def write_index(path: Path, rows: Iterable[IndexRow]) -> None:
    """Write the studies of a shard as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(IndexRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())


def read_index(path: Path) -> list[IndexRow]:
    """Read what ``write_index`` wrote."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [{**row} for row in csv.DictReader(stream)]
    numbers = ("files", "bytes", "rows", "columns")
    return [IndexRow(**(row | {name: int(row[name]) for name in numbers})) for row in rows]  # type: ignore[arg-type]
