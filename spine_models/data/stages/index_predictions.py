"""The first look at the studies to predict: one pass over all headers, and two tables of what was found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from spine_models.data.dataset.disk import FilesChangedError, read_once_more
from spine_models.data.dataset.layout import StudyFile, list_tree, stat_digest
from spine_models.data.dataset.prediction_tables import PredictionIndex, table_rows, write_private
from spine_models.data.dataset.quarantine import RefusalCode
from spine_models.data.dataset.shards import shard_of
from spine_models.data.dicom.tree import Tree, TreeStudy, read_tree
from spine_models.errors import UserError
from spine_models.provenance.keys import Key
from spine_models.provenance.vouched import vouch

_WAIT = "wait until they are copied, then run the same command again"
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


def index_predictions(
    root: Path, index: PredictionIndex, settings: IndexPredictionsSettings, code: str, planned: str = ""
) -> None:
    """Say which study each file below ``root`` belongs to, and to which shard each study.

    Args:
        root: the tree.
        index: tables to write.
        settings: see there.
        code: fingerprint of the code.
        planned: ``stat_digest`` of the tree as the workflow saw it when it was planned; "" where nobody looked.

    Raises:
        UserError: if ``root`` is not a folder, holds no study, or changes.
    """
    require_tree(root)
    tree = read_once_more(partial(_settled_tree, root, settings.allow_symlinks, planned))
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


def _settled_tree(root: Path, allow_symlinks: bool, planned: str) -> Tree:
    """Read a tree whose files are the same, and unchanged, before and after that.

    Where it is not what the plan saw, a file was being written then or is now. The next plan sees only whether the
    tree differs from the last plan's, so that what such a file led to would stay.
    """
    before = [entry.file for entry in list_tree(root, allow_symlinks)]
    tree = read_tree(root, allow_symlinks)
    after = [entry.file for entry in list_tree(root, allow_symlinks)]
    if [astuple(file) for file in before] != [astuple(file) for file in after]:
        raise FilesChangedError(f"files of {root} changed while they were read: {_WAIT}")
    if planned and stat_digest(before) != planned:
        raise UserError(f"files of {root} changed after the workflow had looked at them: {_WAIT}")
    return tree


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
