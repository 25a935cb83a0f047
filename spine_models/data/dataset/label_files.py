"""The files of the label maps in ``segmentations/``, by their names alone."""

from __future__ import annotations

from pathlib import Path

from spine_models.data.dataset import layout
from spine_models.data.dataset.uids import study_id

_SUFFIXES = (".nii", ".nii.gz")


def label_file(dataset_dir: Path, study: str) -> Path | None:
    """Return the label map of a study, ``.nii`` or ``.nii.gz``, None if there is none."""
    paths = (dataset_dir / layout.SEGMENTATIONS / f"{study}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def labelled_studies(dataset_dir: Path) -> set[str]:
    """Return the ids of the studies that a file in ``segmentations/`` is named after; see ``uids.study_id``."""
    folder = dataset_dir / layout.SEGMENTATIONS
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    names = [path.name.removesuffix(".gz") for path in paths]
    return {study_id(name.removesuffix(".nii")) for name in names if name.endswith(".nii")}
