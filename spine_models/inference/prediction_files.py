"""The files of a prediction's studies, and how tables are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spine_models.csv_cells import csv_text
from spine_models.provenance.files import write_text

SUFFIXES = {"mask": "_mask.nii.gz", "sagittal": "_sagittal.png", "axial": "_axial.png", "view": "_view.json"}
"""Kind of a study's file to what follows the study's name in its file name."""


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, atomically."""
    write_text(path, csv_text(header, rows))
