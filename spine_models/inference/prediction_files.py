"""The files of a prediction's studies, and how tables are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spine_models.provenance.files import write_text

SUFFIXES = {"mask": "_mask.nii.gz", "sagittal": "_sagittal.png", "axial": "_axial.png", "view": "_view.json"}
"""Kind of a study's file to what follows the study's name in its file name."""


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, atomically."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, stream.getvalue())
