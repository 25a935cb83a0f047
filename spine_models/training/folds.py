"""Who trains and who validates: the fold tables, and the promise that nobody does both."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from spine_models.errors import UserError
from spine_models.evaluation.tables import STUDY, read_csv
from spine_models.provenance.vouched import vouched


@dataclass(frozen=True)
class Split:
    """The studies of one fold's training, each list sorted.

    Attributes:
        training: studies to train on.
        validation: held-out studies.
        training_groups: patient groups of the training studies.
        validation_groups: patient groups of the held-out studies.
    """

    training: tuple[str, ...]
    validation: tuple[str, ...]
    training_groups: tuple[str, ...] = ()
    validation_groups: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Studies and patient groups that a training on this split learns from."""
        return (*self.training, *self.training_groups)


def read_split(path: Path, fold: int, available: Collection[str]) -> Split:
    """Split the studies of a fold table into those of ``fold`` and the others.

    Args:
        path: CSV with the columns StudyInstanceUID, group and fold.
        fold: the one to hold out.
        available: studies that there is something to train on of; others are left out.

    Raises:
        UserError: if a study or the group of a patient is on both sides, or a side is empty.
    """
    table = read_csv(vouched(path), (STUDY, "group", "fold"), "the rule make_folds")
    table = table[table[STUDY].isin(set(available))]
    inside = table["fold"] == fold
    for column, word in ((STUDY, "study"), ("group", "patient group")):
        both = set(table.loc[inside, column]) & set(table.loc[~inside, column])
        if both:
            raise UserError(
                f"{path} has the {word} {min(both)} in fold {fold} and in another: remove the rows of one of them, "
                "otherwise the training would see what it is judged by"
            )
    split = Split(
        tuple(sorted(table.loc[~inside, STUDY])),
        tuple(sorted(table.loc[inside, STUDY])),
        tuple(sorted(set(table.loc[~inside, "group"].dropna()))),
        tuple(sorted(set(table.loc[inside, "group"].dropna()))),
    )
    if not split.training or not split.validation:
        raise UserError(
            f"fold {fold} of {path} leaves {len(split.training)} studies to train on and {len(split.validation)} to "
            "judge by: both are needed, so give more studies or fewer folds"
        )
    return split
