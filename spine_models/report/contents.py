"""What the report shows, read from the files of a run."""

from __future__ import annotations

import csv
import importlib.metadata
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.csv_cells import csv_rows
from spine_models.provenance.vouched import vouched
from spine_models.report.figures import Curves

PACKAGES = (
    "torch", "numpy", "pandas", "mmaction2", "mmcv-lite", "pytorch-lightning", "albumentations", "pydicom",
    "nibabel", "scikit-learn", "safetensors", "snakemake",
)  # fmt: skip
_PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class ReportInputs:
    """The files that a report shows.

    Attributes:
        metrics: ``evaluation/metrics.json``.
        quarantine: ``index/quarantine.csv``.
        histories: ``history.csv`` of every training.
        oof: out-of-fold predictions.
        train_csv: true targets.
        bundle: ``bundle/bundle.json``.
        half: manifests of the half-size volumes, for pictures.
        masks: manifests of the masks, for pictures and flags.
        output_dir: of the run, where ``accepted.json`` may be.
    """

    metrics: Path
    quarantine: Path
    histories: Sequence[Path]
    oof: Sequence[Path]
    train_csv: Path
    bundle: Path
    half: Sequence[Path] = ()
    masks: Sequence[Path] = ()
    output_dir: Path = Path()


def training_name(history: Path) -> str:
    """Return what a training is called on the page: "fold 0", or "ir, fold 0" for a classifier."""
    fold = history.parent.name.replace("fold", "fold ")
    group = history.parent.parent.name
    return fold if group == "segmentation" else f"{group}, {fold}"


def read_curves(histories: Sequence[Path], column: str) -> Curves:
    """Read one column of several ``history.csv`` against the epoch, counted from 1 as in the logs.

    A file without the column gives no line.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(histories):
        with vouched(path).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        points = [(float(row["epoch"]) + 1, float(row[column])) for row in rows if row.get(column)]
        if points:
            curves[training_name(path)] = points
    return curves


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file into one dictionary a row."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv_rows(stream))


def software_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def git_commit() -> str:
    """Return the commit of the checkout that this library is in, or "" where it is in none.

    A library that is installed inside another project's checkout is not part of that project.
    """
    command = ["git", "-C", str(_PACKAGE_FOLDER)]
    try:
        subprocess.run([*command, "ls-files", "--error-unmatch", "levels.py"], check=True, capture_output=True)
        found = subprocess.run([*command, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def averaging_rows(averaging: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Flatten the averaging of ``metrics.json``: one row a variant and fold, with what the published average gains."""
    rows = [
        {
            "variant": variant,
            "fold": fold.replace("fold", ""),
            "best_single": facts["best_single"],
            "averaged": facts["averaged"],
            "greedy": (facts.get("greedy") or {}).get("loss"),
            "published": facts.get("published", "averaged"),
        }
        for variant, folds in sorted(averaging.items())
        for fold, facts in sorted(folds.items())
    ]
    return [row | {"gain": row["best_single"] - row[row["published"]]} for row in rows]
