"""Outputs that name a failed study: Snakemake takes them for finished, and nothing is known of the study."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

_FAILED = "failed"
"""See ``provenance.shard.FAILED``, whose module is too heavy for the planning of a workflow."""


def unfinished(path: Path) -> str:
    """Return when ``path`` was written if it names a failed study, otherwise "".

    As a parameter of the rule that writes it, this makes the next run try the study again: the parameter differs from
    the one that the file was made under.

    Args:
        path: a shard's manifest of predictions, or the table of the studies to predict.
    """
    if not path.is_file():
        return ""
    codes = _codes_of_table(path) if path.suffix == ".csv" else _codes_of_manifest(path)
    return str(path.stat().st_mtime_ns) if _FAILED in codes else ""


def _codes_of_manifest(path: Path) -> set[str]:
    try:
        refused: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["refused"]
        return {str(why["code"]) for why in refused.values()}
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged: whoever reads it says so
        return set()


def _codes_of_table(path: Path) -> set[str]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return {row.get("code") or "" for row in csv.DictReader(stream)}
