"""Tables that the user wrote, and the studies that they name, looked at before the first job.

A mistake is one sentence then, and not one in every log.
"""

from __future__ import annotations

import os
from pathlib import Path

from spine_models.data.dataset.disk import patiently
from spine_models.data.dataset.label_files import label_files, one_label_file
from spine_models.data.dataset.layout import BOXES_TABLE, IMAGES, SEGMENTATIONS, TRAIN_TABLE
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dataset.uids import study_id
from spine_models.errors import UserError


def require_tables(dataset: Path) -> set[str]:
    """Read ``train.csv`` and the bounding boxes, where they are there; return the studies of ``train.csv``.

    Raises:
        UserError: naming the line, for whatever is wrong in them, or if there is no study.
    """
    from spine_models.data.dataset.tables import read_boxes, read_train

    if not (dataset / TRAIN_TABLE).is_file():
        return set()
    studies = set(read_train(dataset / TRAIN_TABLE)["StudyInstanceUID"])
    if not studies:
        raise UserError(f"{dataset / TRAIN_TABLE} lists no study: write a line for each folder of {IMAGES}")
    boxes = dataset / BOXES_TABLE
    if boxes.is_file():
        read_boxes(boxes, studies)
    return studies


def require_studies(dataset: Path, listed: set[str], parts: int) -> None:
    """Check that enough studies have a folder to be split into folds; how many can be read shows the conversion.

    Args:
        dataset: folder of the data set.
        listed: the studies of ``train.csv``.
        parts: ``classification.fold_parts``.

    Raises:
        UserError: if none has, or fewer than there are parts.
    """
    images = dataset / IMAGES

    def there() -> set[str]:
        with os.scandir(images) as entries:
            return {study_id(entry.name) for entry in entries}

    found = len(listed & patiently(there, str(images)))
    if not found:
        raise UserError(
            f"{images} has no folder that is named like a study of {TRAIN_TABLE}: it must hold "
            "<StudyInstanceUID>/*.dcm, with no folder left out or between"
        )
    if found < parts:
        raise UserError(
            f"{images} has folders for {found} of the studies of {TRAIN_TABLE}, fewer than classification.fold_parts, "
            f"which is {parts}: add studies, or use fewer folds"
        )


def require_label_maps(dataset: Path, listed: set[str], folds: int) -> None:
    """Check that enough studies have a label map to be split into folds, by the names of the files.

    Args:
        dataset: folder of the data set.
        listed: the studies of ``train.csv``; none where there is no table, and every study counts.
        folds: ``segmentation.folds``.

    Raises:
        UserError: if fewer have one than there are folds.
    """
    named = label_files(dataset)
    found = sum((not listed or study in listed) and _is_read(files) for study, files in named.items())
    if found < folds:
        others = f" ({len(named) - found} with another name or format)" if len(named) > found else ""
        of = f" of {TRAIN_TABLE}" if listed else ""
        raise UserError(
            f"{dataset / SEGMENTATIONS} has label maps <StudyInstanceUID>.nii or .nii.gz for {found} studies{of}"
            f"{others}, fewer than segmentation.folds, which is {folds}: add some, use fewer folds, or name a "
            "segmentation_bundle, which needs none"
        )


def _is_read(files: list[Path]) -> bool:
    try:
        one_label_file(files)
    except StudyRefused:
        return False
    return True


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
