"""Generate a phantom data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spine_models.data.phantom.settings import GradeSettings, GradesSettings, PhantomSettings
from spine_models.log import show

_GRADE: dict[str, Any] = {"metavar": "SHARE WIDTH_MM CONTRAST_HU DISPLACEMENT_MM"}
_Grade = tuple[float, float, float, float]


def _numbers(grade: GradeSettings) -> _Grade:
    return grade.share, grade.width_mm, grade.contrast_hu, grade.displacement_mm


_SUBTLE, _MODERATE, _OBVIOUS = map(_numbers, (GradesSettings.subtle, GradesSettings.moderate, GradesSettings.obvious))


def phantom(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write: new, empty or an earlier phantom.")],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 2022,
    threads: Annotated[int, typer.Option(min=1, help="Processes that write studies.")] = 1,
    studies: Annotated[int, typer.Option(help="Training studies.")] = PhantomSettings.studies,
    segmented: Annotated[
        int | None,
        typer.Option(
            help=f"Training studies with a segmentation.  [default: {PhantomSettings.segmented}, "
            "or all if there are fewer]"
        ),
    ] = None,
    test_studies: Annotated[int, typer.Option(help="Test studies.")] = PhantomSettings.test_studies,
    defective: Annotated[
        int, typer.Option(help="Further training studies that must end in quarantine.")
    ] = PhantomSettings.defective,
    matrix: Annotated[int, typer.Option(help="Rows and columns of a slice.")] = PhantomSettings.matrix,
    field_of_view_mm: Annotated[float, typer.Option(help="Side of a slice (mm).")] = PhantomSettings.field_of_view_mm,
    slice_mm: Annotated[float, typer.Option(help="Distance between slices (mm).")] = PhantomSettings.slice_mm,
    fractured_share: Annotated[
        float, typer.Option(help="Share of the studies that have a fracture.")
    ] = PhantomSettings.fractured_share,
    border_share: Annotated[
        float, typer.Option(help="Share of the studies with -2048 or -3024 HU outside the scanner's circle.")
    ] = PhantomSettings.border_share,
    metal_share: Annotated[
        float, typer.Option(help="Share of the studies with a metal rod of 30000 HU.")
    ] = PhantomSettings.metal_share,
    subtle: Annotated[_Grade, typer.Option(help="What subtle fractures look like.", **_GRADE)] = _SUBTLE,
    moderate: Annotated[_Grade, typer.Option(help="What moderate fractures look like.", **_GRADE)] = _MODERATE,
    obvious: Annotated[_Grade, typer.Option(help="What obvious fractures look like.", **_GRADE)] = _OBVIOUS,
    no_marker: Annotated[bool, typer.Option("--no-marker", help="Leave out the bead on the left.")] = False,
) -> None:
    """Generate a phantom data set.

    It has DICOM studies, segmentations and tables, laid out like the data set of the challenge.

    Examples:
      spine-models phantom --out phantoms
      spine-models phantom --out phantoms --studies 8 --matrix 256 --threads 4
    """
    from spine_models.configuration.results_folder import require_writable
    from spine_models.data.phantom.dataset import generate_dataset

    require_writable(out, "--out")
    settings = PhantomSettings(
        studies=studies,
        segmented=min(PhantomSettings.segmented, studies) if segmented is None else segmented,
        test_studies=test_studies,
        defective=defective,
        matrix=matrix,
        field_of_view_mm=field_of_view_mm,
        slice_mm=slice_mm,
        fractured_share=fractured_share,
        border_share=border_share,
        metal_share=metal_share,
        grades=GradesSettings(GradeSettings(*subtle), GradeSettings(*moderate), GradeSettings(*obvious)),
        marker=not no_marker,
    )
    summary = generate_dataset(out, settings, seed, threads)
    show(f"{len(summary['studies'])} studies in {out}, digest {summary['digest']}")
