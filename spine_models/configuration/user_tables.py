"""Tables that the user wrote, read before the first job: a mistake is one sentence then, and not one in every log."""

from __future__ import annotations

from pathlib import Path

from spine_models.data.dataset.layout import BOXES_TABLE, TRAIN_TABLE
from spine_models.errors import UserError


def require_tables(dataset: Path) -> set[str]:
    """Read ``train.csv`` and the bounding boxes, where they are there; return the studies of ``train.csv``.

    Raises:
        UserError: naming the line, for whatever is wrong in them.
    """
    from spine_models.data.dataset.tables import read_boxes, read_train

    if not (dataset / TRAIN_TABLE).is_file():
        return set()
    studies = set(read_train(dataset / TRAIN_TABLE)["StudyInstanceUID"])
    boxes = dataset / BOXES_TABLE
    if boxes.is_file():
        read_boxes(boxes, studies)
    return studies


def require_folds(path: Path, parts: int, studies: set[str]) -> None:
    """Read the user's folds; which studies they lack is known only after the conversion has refused some.

    Args:
        path: ``folds_csv``.
        parts: ``classification.fold_parts``.
        studies: those of ``train.csv``.

    Raises:
        UserError: naming the line, for whatever is wrong in it, or if it names none of the studies.
    """
    from spine_models.data.dataset.tables import read_folds

    if studies.isdisjoint(read_folds(path, parts)):
        raise UserError(f"folds_csv {path} names no study of train.csv: give the folds of this data set")


def require_test(path: Path) -> None:
    """Read ``test.csv``.

    Raises:
        UserError: naming the line, for whatever is wrong in it.
    """
    from spine_models.data.dataset.tables import read_test

    read_test(path)


def require_series(path: Path) -> None:
    """Read the table in which the user chooses series (``prediction.series_csv``).

    Raises:
        UserError: naming the line, for whatever is wrong in it.
    """
    from spine_models.data.dataset.tables import read_series

    read_series(path)
