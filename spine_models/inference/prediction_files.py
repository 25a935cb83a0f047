"""The files of a prediction's studies, and how tables are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.csv_cells import csv_text
from spine_models.provenance.files import write_text

SUFFIXES = {
    "nifti": "_mask.nii.gz",
    "seg": "_mask.dcm",
    "sagittal": "_sagittal.png",
    "axial": "_axial.png",
    "view": "_view.json",
}
"""Kind of a study's file to what follows the study's name in its file name."""

MASK_FORMATS: tuple[str, ...] = ("nifti", "seg")
"""Kinds that hold the mask on the original images."""


@dataclass(frozen=True)
class MaskFileSettings:
    """Section ``prediction.mask_files`` of the configuration.

    Attributes:
        formats: of ``MASK_FORMATS``.
        empty_frames: a DICOM SEG has a frame for each level and slice; False: only where the level is.
        copy_patient: a DICOM SEG repeats the patient's name, birth date and sex.
    """

    formats: tuple[str, ...] = ("nifti",)
    empty_frames: bool = False
    copy_patient: bool = False


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, atomically."""
    write_text(path, csv_text(header, rows))
