"""What a run learnt from, and how long it took."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spine_models.data.volume_facts import VolumeFacts
from spine_models.levels import TARGETS
from spine_models.provenance.shelf import Shelf

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RuleTime:
    """What the jobs of one rule took, as Snakemake measured them.

    Attributes:
        rule: its name.
        jobs: how many there were.
        seconds: of all jobs together.
        longest: seconds of the longest.
        memory_mb: the most that one of them held; None where it ended before Snakemake looked.
    """

    rule: str
    jobs: int
    seconds: float
    longest: float
    memory_mb: float | None


def geometry_rows(half: Shelf) -> list[dict[str, Any]]:
    """Return the smallest, middle and largest value of each measure of the volumes; no row where there is no volume.

    Args:
        half: stage ``volumes_half``.
    """
    facts = [half.facts(study, VolumeFacts) for study in half.studies]
    if not facts:
        return []
    measures: dict[str, Sequence[float]] = {
        "slices of the series": [volume.slices for volume in facts],
        "slices used": [volume.shape[0] for volume in facts],
        "distance of used slices (mm)": [volume.spacing_mm[0] for volume in facts],
        "pixel spacing (mm)": [volume.spacing_mm[1] for volume in facts],
        "extent from top to bottom (mm)": [volume.shape[0] * volume.spacing_mm[0] for volume in facts],
        "extent of a slice (mm)": [volume.shape[2] * volume.spacing_mm[2] for volume in facts],
        "tilt of the gantry (degrees)": [volume.tilt_degrees for volume in facts],
    }
    return [
        {"measure": name, "low": min(values), "middle": float(np.median(values)), "high": max(values)}
        for name, values in measures.items()
    ]


def prevalence_rows(truth: pd.DataFrame) -> list[dict[str, Any]]:
    """Count the studies of ``train.csv`` in which each target is present.

    Args:
        truth: index study, columns ``TARGETS`` of 0 and 1.
    """
    counts = truth[list(TARGETS)].sum()
    return [
        {"target": target, "n": int(counts[target]), "share": float(counts[target]) / len(truth)} for target in TARGETS
    ]


def rule_times(output_dir: Path) -> list[RuleTime]:
    """Read what the jobs of a run took from ``benchmarks``, longest rule first; no row where there is no such folder.

    The report's own time is left out: it is not known while the page is written.
    """
    folder = output_dir / "benchmarks"
    jobs: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).with_suffix("").parts[0]
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                seconds = _number(row.get("s"))
                if seconds is not None and rule != "report":
                    jobs[rule].append((seconds, _number(row.get("max_rss"))))
    times = [
        RuleTime(
            rule,
            len(measured),
            sum(seconds for seconds, _ in measured),
            max(seconds for seconds, _ in measured),
            max((memory for _, memory in measured if memory is not None), default=None),
        )
        for rule, measured in jobs.items()
    ]
    return sorted(times, key=lambda time: (-time.seconds, time.rule))


def written_at(path: Path) -> str:
    """Return when a file was written, to the minute, in UTC."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _number(text: str | None) -> float | None:
    """Return what Snakemake measured; it writes "-" or "NA" for what it could not."""
    try:
        return float(text or "")
    except ValueError:
        return None
