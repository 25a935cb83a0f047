"""Paths of the configuration: what Snakemake, a shell and the scripts' command lines can be given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spine_models.schema_check import shown

PATHS: tuple[tuple[str, ...], ...] = (
    ("dataset_dir",),
    ("output_dir",),
    ("predict_dir",),
    ("bundle",),
    ("segmentation_bundle",),
    ("init_bundle",),
    ("folds_csv",),
    ("prediction", "series_csv"),
)
"""Keys whose values are paths, each as the keys of the groups that lead to it."""
_WILDCARD = re.compile(r"[{}]|<[a-z][a-z0-9_]*>")
"""Where Snakemake 9 looks for a wildcard or a variable in any path, for which it has no escape."""


def path_contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every path that Snakemake would read as something else, and for what is not a path."""
    for keys in PATHS:
        path = _at(config, keys)
        found = _WILDCARD.search(path)
        if found:
            yield (
                f"{'.'.join(keys)} is {shown(path)}, in which Snakemake takes {shown(found[0])} for a part of a "
                "wildcard: rename the folder, or name it through a link"
            )
        elif path.startswith("~"):
            yield (
                f"{'.'.join(keys)} is {shown(path)}, and nothing replaces the ~ here: write {Path(path).expanduser()}"
            )
        elif "://" in path:
            yield f"{'.'.join(keys)} is {shown(path)}, but must be a path: copy or mount the files on this machine"
        elif not path.isprintable():
            yield f"{'.'.join(keys)} is {shown(path)}, which has characters that cannot be shown: rename the folder"


def anchored(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config`` with paths that a command line would take for an option (``-x``) made absolute."""
    values = dict(config)
    for *groups, key in PATHS:
        place = values
        for group in groups:
            place[group] = dict(place[group])
            place = place[group]
        if place[key].startswith("-"):
            place[key] = str(Path(place[key]).absolute())
    return values


def _at(config: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    value: Any = config
    for key in keys:
        value = value[key]
    return str(value)
