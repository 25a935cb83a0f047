"""The figures of a finished run, and where its report is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spine_models.errors import UserError
from spine_models.log import show
from spine_models.provenance.files import read_json


def summary_of(output_dir: Path) -> str:
    """Return the headline figures of ``evaluation/metrics.json`` and the paths of the pages, as lines of text.

    Raises:
        UserError: if the run has not been evaluated.
    """
    from spine_models.provenance.vouched import vouched

    if not output_dir.is_dir():
        raise UserError(f"{output_dir} is not a folder: give the output_dir of a run")
    path = output_dir / "evaluation" / "metrics.json"
    if not path.is_file():
        raise UserError(f"{path} is missing: run `snakemake evaluate` first")
    metrics: dict[str, Any] = read_json(vouched(path))
    segmentation, classification = metrics["segmentation"], metrics["classification"]
    low, high = classification["competition_loss_ci95"]
    rows = {
        "data": "phantoms, not patients" if metrics.get("phantom") else "studies",
        "segmentation dice_mean": f"{segmentation['dice_mean']:.3f} over {segmentation['n_studies']} held-out studies",
        "competition_loss": f"{classification['competition_loss']:.4f} (95 % {low:.4f} to {high:.4f}), out of fold",
        "prior_loss": f"{classification['prior_loss']:.4f} (best constant prediction)",
        "quarantine": f"{metrics['quarantine']['n']} studies",
        "predictions": str(output_dir / "predictions" / "index.html"),
        "report": str(output_dir / "report" / "index.html"),
    }
    return "\n".join(f"{name:24}{value}" for name, value in rows.items())


def summary(
    output_dir: Annotated[Path, typer.Argument(metavar="OUTPUT", help="output_dir of the run.")],
) -> None:
    """Print the figures of a finished run.

    They are followed by the paths of its pages.

    Examples:
      spine-models summary demo
    """
    show(summary_of(output_dir))
