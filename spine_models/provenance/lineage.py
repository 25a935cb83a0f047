"""What made the results of a run: of each stage the code in its records, and what was accepted in its place."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spine_models.provenance.acceptance import Acceptance, read_acceptances
from spine_models.provenance.files import read_json
from spine_models.provenance.records import Record, read_record

_NO_RESULTS = {"state", "logs", "benchmarks", "code", "phantom", ".snakemake"}
"""Folders of an ``output_dir`` that hold no record of a result."""


@dataclass(frozen=True)
class Made:
    """Results of one stage that stand on the same code.

    Attributes:
        stage: name of the rule.
        code: fingerprint in their keys.
        results: how many records name it.
        accepted: lines by which a person has put this code in the place of a later one: some of the results may have
            been made by that.
    """

    stage: str
    code: str
    results: int
    accepted: tuple[Acceptance, ...]


def lineage(output_dir: Path) -> list[Made]:
    """Return what made the results that are in a run's folder, by stage and code.

    Raises:
        UserError: if a record or ``accepted.json`` is damaged.
    """
    lines = read_acceptances(output_dir)
    counts = Counter((record.key.stage, record.key.code) for record in _records(output_dir))
    return [
        Made(stage, code, number, tuple(line for line in lines if (line.stage, line.accepted) == (stage, code)))
        for (stage, code), number in sorted(counts.items())
    ]


def _records(output_dir: Path) -> Iterator[Record]:
    for folder, folders, files in os.walk(output_dir):
        if Path(folder) == output_dir:
            folders[:] = sorted(set(folders) - _NO_RESULTS)
        for name in files:
            path = Path(folder, name)
            if path.suffix == ".json" and _is_record(path):
                yield read_record(path)


def _is_record(path: Path) -> bool:
    """Say whether a file has the form of a record; other JSON files are results."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"key", "files", "facts"} <= content.keys()
