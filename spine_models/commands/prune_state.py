"""Remove the states of trainings that nothing uses any more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spine_models.errors import UserError
from spine_models.log import show


def prune_state(
    output_dir: Annotated[Path, typer.Argument(metavar="OUTPUT", help="output_dir of the configuration.")],
) -> None:
    """Remove states of trainings that nothing uses.

    The last used state of every training stays.

    Examples:
      spine-models prune-state results
    """
    from spine_models.training.state import prune_all

    if not output_dir.is_dir():
        raise UserError(f"{output_dir} is not a folder: give the output_dir of a run")
    states = output_dir / "state"
    if not states.is_dir():
        raise UserError(f"{output_dir} holds no states of trainings: give the output_dir of a run that has trained")
    removed = prune_all(states)
    for folder in removed:
        show(f"removed {folder}")
    show(f"{len(removed)} old states removed")
