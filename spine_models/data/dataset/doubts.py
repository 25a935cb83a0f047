"""What speaks against studies, by the state of their files: a file that was being written may be another one now.

Imported while Snakemake parses the workflow: nothing here may import pandas, numpy or pydicom.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from spine_models.provenance.canonical import digest_json
from spine_models.provenance.sealed import read_sealed, write_sealed

DOUBTS = "doubts.source.json"
"""Its name in a shard's folder; it holds times of files, as do the other files that end so."""


def write_doubts(path: Path, states: Mapping[str, str], again: str) -> None:
    """Write down under which states of their files studies were refused, or lost files.

    Args:
        path: file to write.
        states: study to a digest of names, sizes and times of its files, as the job found them.
        again: what ``states_changed`` returned when the job was planned.
    """
    write_sealed(path, {"states": dict(states), "again": again})


def states_changed(path: Path, state_of: Callable[[str], str]) -> str:
    """Return a digest of the present states where a doubtful study has another one than its job found.

    As a parameter of the rule that wrote ``path``, this makes the next run read those studies again: the main process
    looks at folders only, whose times stay when a file in them is mended. Where nothing changed, it is the parameter
    that the job had.

    Args:
        path: what ``write_doubts`` wrote; "" is returned where there is nothing that can be read.
        state_of: a study's state now, in the form of ``write_doubts``.
    """
    try:
        known = read_sealed(path)
        states, again = dict(known["states"]), str(known["again"])
    except (
        FileNotFoundError,
        ValueError,
        KeyError,
        TypeError,
    ):  # no job has written one, or an older release
        return ""
    now = {study: state_of(study) for study in states}
    return again if now == states else digest_json(now)
