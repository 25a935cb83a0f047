"""The first look at the studies to predict: one pass over all headers, and two tables of what was found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spine_models.data.dataset.layout import StudyFile, stat_digest
from spine_models.data.dataset.prediction_tables import PredictionIndex, table_rows, write_private
from spine_models.data.dataset.quarantine import RefusalCode
from spine_models.data.dataset.shards import shard_of
from spine_models.data.dicom.tree import TreeStudy, read_tree
from spine_models.errors import UserError
from spine_models.provenance.keys import Key
from spine_models.provenance.vouched import vouch

_FILES = ("path", "bytes", "mtime_ns", "study", "reason")
_STUDIES = ("study", "shard", "asked_as", "code", "reason")


@dataclass(frozen=True)
class IndexPredictionsSettings:
    """How studies to predict are found.

    Attributes:
        shards: of the prediction.
        allow_symlinks: follow links that lead out of the tree.
    """

    shards: int
    allow_symlinks: bool = False


def index_predictions(root: Path, index: PredictionIndex, settings: IndexPredictionsSettings, code: str) -> None:
    """Say which study each file below ``root`` belongs to, and to which shard each study.

    Args:
        root: the tree.
        index: tables to write.
        settings: see there.
        code: fingerprint of the code.

    Raises:
        UserError: if ``root`` is not a folder, or holds no study.
    """
    require_tree(root)
    tree = read_tree(root, settings.allow_symlinks)
    if not tree.studies:
        raise UserError(f"{root} holds no DICOM file ({len(tree.aside)} other files): give the folder of the studies")
    if all(study.code == RefusalCode.ARCHIVE.value for study in tree.studies):
        raise UserError(f"{root} holds archives and no DICOM file: unpack them, then run again")
    files: list[tuple[Any, ...]] = [
        (f.name, f.size, f.mtime_ns, study.name, "") for study in tree.studies for f in study.files
    ]
    files += [(name, "", "", "", reason) for name, reason in tree.aside.items()]
    write_private(index.files, _FILES, sorted(files))
    rows = [(s.name, shard_of(s.name, settings.shards), s.asked_as, s.code, s.reason) for s in tree.studies]
    write_private(index.studies, _STUDIES, rows)
    read = {study.name: stat_digest(list(study.files)) for study in tree.studies}
    for table in (index.files, index.studies):
        vouch(table, Key("index_predictions", read, asdict(settings), code))


def require_tree(root: Path) -> None:
    """Check that ``root`` is a folder.

    Raises:
        UserError: if it is not; an archive is named as one.
    """
    if root.is_file():
        raise UserError(f"{root} is a file: give a folder; unpack an archive first")
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the folder that holds the studies")


def read_studies(index: PredictionIndex, shard: int) -> list[TreeStudy]:
    """Read the studies of one shard."""
    files: dict[str, list[StudyFile]] = defaultdict(list)
    for row in table_rows(index.files):
        if row["study"]:
            files[row["study"]].append(StudyFile(row["path"], int(row["bytes"]), int(row["mtime_ns"])))
    return [
        TreeStudy(row["study"], tuple(files[row["study"]]), row["asked_as"], row["code"], row["reason"])
        for row in table_rows(index.studies)
        if int(row["shard"]) == shard
    ]
