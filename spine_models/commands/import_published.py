"""Make a bundle of the published solution's own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spine_models.errors import UserError
from spine_models.log import say, show

_TERMS = (
    "This project neither ships nor downloads these weights. Their terms of use, and those of the data that they were "
    "trained on, are yours to check before you use the bundle or pass it on."
)


def import_published(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the checkpoints, under any names.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder of the new bundle.")],
    our_defaults: Annotated[
        bool, typer.Option("--our-defaults", help="Predict with this pipeline's settings, not the author's.")
    ] = False,
    folds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The solution's folds.csv: studies of the classifiers.")
    ] = None,
    seg_folds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The solution's seg_folds.csv: studies of the segmentation.")
    ] = None,
    fold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N",
            help="The checkpoint NAME held fold N out of its training; may be given several times. Any other "
            "checkpoint counts as having seen every study of its table.",
        ),
    ] = None,
) -> None:
    """Make a bundle of published weights.

    Each checkpoint is recognised by its tensors, never by its name; docs/published.md says what the bundle does
    differently from one of this pipeline.

    Examples:
      spine-models import-published /data/checkpoints --out published-bundle
      spine-models import-published DIR --out B --folds folds.csv --seg-folds seg_folds.csv --fold best_f0=0
    """
    from spine_models.configuration.results_folder import require_writable
    from spine_models.inference.import_solution import SolutionTables, import_solution

    require_writable(out, "--out")
    tables = SolutionTables(folds, seg_folds, _folds(fold or []))
    found = import_solution(folder, out, tables, our_defaults=our_defaults, progress=_say)
    for network in found.networks:
        show(f"{network.checkpoint}: {network.title}")
    for name in found.skipped:
        show(f"{name}: left out, not a checkpoint or the same as another file")
    for note in (*found.notes, _TERMS):
        show(note)
    show(str(out))


def _folds(options: list[str]) -> dict[str, int]:
    folds = {}
    for option in options:
        name, _, number = option.rpartition("=")
        if not name or not number.isdecimal():
            raise UserError(
                f"--fold {option} is not NAME=N: give the name of a checkpoint's file and its fold's number"
            )
        folds[name] = int(number)
    return folds


def _say(name: str) -> None:
    say(f"reading {name}")
