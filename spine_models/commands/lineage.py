"""What made the results of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spine_models.errors import UserError
from spine_models.log import show

if TYPE_CHECKING:
    from spine_models.provenance.lineage import Made


def lineage(
    output_dir: Annotated[Path, typer.Argument(metavar="OUTPUT", help="output_dir of the run.")],
) -> None:
    """Say which code made the results of a run.

    One line for each rule and fingerprint, from the records beside the results, and below it what a person has accepted
    in its place (docs/upgrade.md). What a fingerprint was made from is in OUTPUT/code.

    Examples:
      spine-models lineage results
    """
    from spine_models.provenance.lineage import lineage as lineage_of

    if not output_dir.is_dir():
        raise UserError(f"{output_dir} is not a folder: give the output_dir of a run")
    found = lineage_of(output_dir)
    if not found:
        raise UserError(f"{output_dir} holds no result with a record: give the output_dir of a run")
    for made in found:
        for line in lines_of(made):
            show(line)


def lines_of(made: Made) -> list[str]:
    """Return a line for results of one code, and one for each acceptance that it stands on."""
    results = "1 result" if made.results == 1 else f"{made.results} results"
    lines = [f"{made.stage}: {results} of code {made.code or 'unknown'}"]
    for line in made.accepted:
        modules = "modules unknown" if line.modules is None else ", ".join(line.modules)
        lines.append(f"  accepted for code {line.code}; changed: {modules}; reason: {line.reason}")
    return lines
