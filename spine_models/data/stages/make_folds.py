"""Which study belongs to which fold, over the studies that are not in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spine_models.data.dataset import layout, tables
from spine_models.data.dataset.folds import FoldSettings, FoldStudy, kept_folds, user_folds, write_folds
from spine_models.data.volume_facts import VolumeFacts
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.shelf import Shelf


@dataclass(frozen=True)
class FoldInputs:
    """What the folds are made from.

    Attributes:
        dataset: the data set, for ``train.csv``.
        half: manifests of the half-size volumes.
        labels: manifests of the labels.
    """

    dataset: Path
    half: Sequence[Path]
    labels: Sequence[Path] = ()


def make_folds(
    inputs: FoldInputs, outputs: tuple[Path, Path], state: Path, settings: FoldSettings, listed: str = ""
) -> None:
    """Write the folds of the segmentation and of the classifiers.

    Args:
        inputs: the files.
        outputs: tables to write, for the segmentation and for the classifiers.
        state: folder that remembers earlier assignments.
        settings: see there.
        listed: see ``tables.read_planned_train``.

    Raises:
        UserError: if there are too few studies, or ``train.csv`` or the user's folds are wrong.
    """
    groups = _groups(Shelf(inputs.half))
    train = tables.read_planned_train(inputs.dataset / layout.TRAIN_TABLE, listed)
    overall = dict(zip(train["StudyInstanceUID"], train["patient_overall"], strict=True))
    labelled = sorted(set(Shelf(inputs.labels).studies) & set(groups))
    segmentation = [FoldStudy(study, groups[study]) for study in labelled]
    classification = [FoldStudy(s, groups[s], int(overall[s])) for s in sorted(groups) if s in overall]
    with folder_lock(state):
        parts = settings.segmentation_folds
        if segmentation and parts:
            folds = kept_folds(segmentation, parts, settings.seed, state / "segmentation.json")
            write_folds(outputs[0], segmentation, folds)
        else:
            write_folds(outputs[0], [], {})
        parts = settings.classification_parts
        if not overall:
            write_folds(outputs[1], [], {})
            return
        if settings.folds_csv:
            table = tables.read_folds(Path(settings.folds_csv), parts)
            folds = user_folds(classification, table, Path(settings.folds_csv))
        else:
            folds = kept_folds(classification, parts, settings.seed, state / "classification.json")
        write_folds(outputs[1], classification, folds)


def _groups(volumes: Shelf) -> dict[str, str]:
    """Return study to group: the digest of the PatientID, or the study itself where the files have none."""
    return {study: volumes.facts(study, VolumeFacts).group or study for study in volumes.studies}
