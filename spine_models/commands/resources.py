"""What a configuration needs: memory, steps and disk of every training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spine_models.errors import UserError
from spine_models.log import show


def resources(
    configfile: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Overlay on config.yaml; may be given several times.")
    ] = None,
    studies: Annotated[int | None, typer.Option(min=1, help="Studies in your data set.")] = None,
    segmented: Annotated[int | None, typer.Option(min=1, help="How many of them have a segmentation.")] = None,
) -> None:
    """Print memory, steps and disk of the trainings.

    The memory of a training step is measured on the CPU at a small size and scaled. Without --studies the numbers are
    those of the challenge's data set, or of the phantoms that the configuration asks for.

    Examples:
      spine-models resources
      spine-models resources --configfile presets/laptop-16g.yaml --studies 300 --segmented 40
    """
    from spine_models.configuration.workflow_files import require_current_folder

    require_current_folder()
    from spine_models.commands.training_needs import needs, read_configuration, table

    if studies and segmented and segmented > studies:
        raise UserError(f"--segmented {segmented} is more than --studies {studies}: give the part of them that has one")
    show(table(needs(read_configuration(configfile or []), studies, segmented)))
