"""What became of every file of the studies to predict: the one table that holds paths; only its owner may read it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from spine_models.csv_cells import csv_rows
from spine_models.data.dataset.prediction_tables import PredictionIndex, files_aside, write_private
from spine_models.provenance.vouched import vouched

if TYPE_CHECKING:
    from spine_models.data.dicom.study import StudySource
    from spine_models.data.dicom.tree import TreeStudy

INVENTORY = "inventory.csv"
_HEADER = ("path", "study", "use", "reason")
_USED, _ASIDE = "used", "set aside"

Row = tuple[str, str, str, str]
"""Path relative to the tree, study ("" for none), use, and why it was set aside."""


def used_rows(study: str, found: TreeStudy, source: StudySource) -> list[Row]:
    """Say which files of a study made its volume, and why the others did not."""
    folder = found.folder()
    why = {str(folder / item.name): item.why for item in source.selection.left_out}
    used = {str(folder / file.name) for file in source.used_files}
    return [
        (f.name, study, _USED, "") if f.name in used else (f.name, study, _ASIDE, why.get(f.name, "beside the stack"))
        for f in found.files
    ]


def refused_rows(found: TreeStudy, code: str) -> list[Row]:
    """Say that all files of a study were set aside with it."""
    return [(file.name, found.name, _ASIDE, code) for file in found.files]


def write_inventory(path: Path, rows: Iterable[Row]) -> None:
    """Write the inventory of a shard, or of a whole tree."""
    write_private(path, _HEADER, sorted(rows))


def join_inventories(path: Path, index: PredictionIndex, manifests: Iterable[Path]) -> None:
    """Join what became of the files of every shard, and those that are of no study.

    Raises:
        UserError: if the table of a shard is missing or damaged.
    """
    rows: list[Row] = [(name, "", _ASIDE, reason) for name, reason in files_aside(index)]
    for manifest in manifests:
        table = manifest.with_suffix("") / INVENTORY
        with vouched(table, manifest).open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            rows += [(row["path"], row["study"], row["use"], row["reason"]) for row in csv_rows(stream)]
    write_inventory(path, rows)
