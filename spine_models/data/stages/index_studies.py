"""The first look at a shard's studies: which folders there are, and what cannot be a study at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spine_models.data.dataset import layout, tables
from spine_models.data.dataset.index import IndexRow
from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dataset.shards import shard_of
from spine_models.data.dataset.uids import study_id
from spine_models.data.dicom.file import UnreadableFileError
from spine_models.data.dicom.headers import SliceHeader, read_headers
from spine_models.provenance.shard import Shard


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

    ``train.csv``, where there is one, is checked on the way, so that a mistake in it stops the run before hours of
    conversion.

    Raises:
        UserError: if ``train.csv`` is wrong, or studies could not be looked at, after the others were.
    """
    tables.read_planned_train(dataset_dir / layout.TRAIN_TABLE, "")
    images = dataset_dir / layout.IMAGES
    names = [entry.name for entry in layout.study_folders(images)]
    mine = [name for name in names if shard_of(study_id(name), settings.shards) == shard]
    rows, looked_at = [], Shard("index_studies", ())
    for name in mine:
        with looked_at.study(study_id(name)):
            rows.append(_index_study(images, name, settings.allow_symlinks))
    looked_at.require_success()
    return rows


def _index_study(images_dir: Path, name: str, allow_symlinks: bool) -> IndexRow:
    study = study_id(name)
    try:
        files = layout.list_study(images_dir, name, allow_symlinks)
    except StudyRefused as refused:
        return IndexRow(study, name, refused_code=refused.code.value, refused_reason=refused.reason)
    row = IndexRow(study, name, len(files))
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
