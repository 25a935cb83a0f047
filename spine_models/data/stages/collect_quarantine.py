"""What concerns all studies at once: the quarantine table and the folds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spine_models.csv_cells import csv_text
from spine_models.data.dataset import layout, tables
from spine_models.data.dataset.index import read_index
from spine_models.data.dataset.label_files import label_files
from spine_models.data.dataset.quarantine import RefusalCode
from spine_models.errors import UserError
from spine_models.provenance.files import write_text
from spine_models.provenance.manifest import Manifest, read_manifests

STAGES = ("index", "volumes", "labels", "tables")


@dataclass(frozen=True)
class QuarantineRow:
    """One line of ``index/quarantine.csv``; ``stage`` is one of ``STAGES``."""

    study: str
    stage: str
    code: str
    reason: str


@dataclass(frozen=True)
class QuarantineInputs:
    """What the table is collected from.

    Attributes:
        dataset: the data set.
        index: the index of each shard.
        half: manifests of the half-size volumes.
        labels: manifests of the labels.
    """

    dataset: Path
    index: Sequence[Path]
    half: Sequence[Path]
    labels: Sequence[Path] = ()


def collect_quarantine(inputs: QuarantineInputs, listed: str = "") -> list[QuarantineRow]:
    """Join what every stage refused, and what the folders and ``train.csv`` do not share.

    A study refused by ``labels`` is lost only for the segmentation, one refused by ``tables`` for the classifiers.

    Args:
        inputs: the files.
        listed: see ``tables.read_planned_train``.

    Raises:
        UserError: if ``train.csv`` or ``train_bounding_boxes.csv`` is wrong, or no label map has a cervical level.
    """
    rows = [row for path in sorted(inputs.index) for row in read_index(path)]
    found = [
        QuarantineRow(row.study, "index", row.refused_code, row.refused_reason) for row in rows if row.refused_code
    ]
    found += _refused("volumes", read_manifests(inputs.half))
    maps = list(read_manifests(inputs.labels))
    found += _refused("labels", maps)
    _require_levels(maps)
    train = tables.read_planned_train(inputs.dataset / layout.TRAIN_TABLE, listed)
    known = set(train["StudyInstanceUID"])
    if (inputs.dataset / layout.BOXES_TABLE).is_file():
        tables.read_boxes(inputs.dataset / layout.BOXES_TABLE, known)
    there = {row.study for row in rows}
    usable = {row.study for row in rows if not row.refused_code}
    # Without fractures every study is as good as listed.
    found += unshared(there, usable, known or there, label_files(inputs.dataset))
    return sorted(found, key=lambda row: (row.study, STAGES.index(row.stage)))


def _require_levels(maps: Iterable[Manifest]) -> None:
    """Stop where every label map of a data set was refused for its values: its numbering is another one."""
    maps = list(maps)
    refused = [
        why for manifest in maps for why in manifest.refused.values() if why["code"] == RefusalCode.LABEL_INVALID
    ]
    if refused and not any(manifest.studies for manifest in maps):
        raise UserError(
            f"none of the {len(refused)} label maps shows C1 to C7; of the first one: {refused[0]['reason']}"
        )


def unshared(
    there: Collection[str], usable: Collection[str], listed: Collection[str], labelled: Collection[str]
) -> list[QuarantineRow]:
    """Name the studies that only some of folders, ``train.csv`` and label maps know.

    Args:
        there: studies with a folder.
        usable: those of them that are not refused.
        listed: studies of ``train.csv``.
        labelled: studies with a label map.
    """
    no_row = f"{layout.TRAIN_TABLE} has no row for this study"
    no_folder = f"{layout.IMAGES} has no folder for this study"
    return [
        *(QuarantineRow(s, "tables", RefusalCode.NOT_IN_TABLE.value, no_row) for s in set(usable) - set(listed)),
        *(QuarantineRow(s, "tables", RefusalCode.NO_FOLDER.value, no_folder) for s in set(listed) - set(there)),
        *(QuarantineRow(s, "labels", RefusalCode.NO_FOLDER.value, no_folder) for s in set(labelled) - set(there)),
    ]


def _refused(stage: str, manifests: Iterable[Manifest]) -> list[QuarantineRow]:
    return [
        QuarantineRow(study, stage, why["code"], why["reason"])
        for manifest in manifests
        for study, why in manifest.refused.items()
    ]


@dataclass(frozen=True)
class QuarantineSettings:
    """``strict``: a study in quarantine stops the run."""

    strict: bool = False


def write_quarantine(path: Path, rows: Sequence[QuarantineRow], settings: QuarantineSettings) -> None:
    """Write the quarantine table: study,stage,code,reason.

    Raises:
        UserError: if ``settings.strict`` and there is a row; the table is written first.
    """
    header = ("study", "stage", "code", "reason")
    write_text(path, csv_text(header, [(row.study, row.stage, row.code, row.reason) for row in rows]))
    if settings.strict and rows:
        first = rows[0]
        raise UserError(
            f"strict: true, and {len(rows)} entries are in quarantine, the first is {first.study} ({first.code}: "
            f"{first.reason}): mend or remove them, or set strict: false"
        )
