"""Look at a data set before anything runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spine_models.errors import UserError
from spine_models.log import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from spine_models.data.stages.check_dataset import DatasetReport


def check(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="The data set: dataset_dir of the configuration.")],
    output_dir: Annotated[
        Path | None, typer.Option(help="output_dir of an earlier run: find files overwritten in place since.")
    ] = None,
    allow_symlinks: Annotated[
        bool, typer.Option("--allow-symlinks", help="Follow links that lead out of the data set.")
    ] = False,
    label_geometry: Annotated[
        Literal["affine", "index"], typer.Option(help="label_geometry of the configuration.")
    ] = "affine",
    notes: Annotated[
        bool, typer.Option("--notes", help="List what is out of the ordinary in studies that are used.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if anything is refused or overwritten.")
    ] = False,
    processes: Annotated[int, typer.Option(min=0, help="Processes that read headers; 0: one per core.")] = 0,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Time a plain pydicom loop over some files as well.")
    ] = False,
) -> None:
    """Look at a data set before anything runs.

    Shows what is there, and what will be refused and why. Only headers are read, on all cores; damaged pixels are found
    by the conversion. The status is 1 if a table is wrong, a study could not be looked at, or none can be used.

    Examples:
      spine-models check /data/rsna
      spine-models check /data/rsna --notes --strict
      spine-models check /data/rsna --output-dir results
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from spine_models.data.dataset.layout import require_dataset
    from spine_models.data.stages.check_dataset import check_dataset, usable_cores

    require_dataset(dataset)
    if output_dir and not (output_dir / "volumes").is_dir():
        raise UserError(f"--output-dir {output_dir} holds no volumes: give the output_dir of a run that has converted")
    columns = SpinnerColumn(), TextColumn("headers of"), MofNCompleteColumn(), TextColumn("files"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        report = check_dataset(
            dataset,
            allow_symlinks,
            output_dir,
            processes or usable_cores(),
            lambda n: bar.advance(task, n),
            label_geometry,
        )
    console = Console(highlight=False)
    _print(console, report, notes)
    if baseline:
        _print_baseline(console, report, dataset)
    none = not any(study.slices for study in report.studies)
    if none or report.mistakes or report.failed or (strict and (report.quarantine or report.overwritten)):
        raise typer.Exit(1)


def _print(console: Console, report: DatasetReport, notes: bool) -> None:
    from rich.table import Column, Table

    from spine_models.data.stages.check_dataset import summary_lines

    if report.quarantine:
        table = Table(Column("study", overflow="fold"), "stage", "code", "reason", title="Quarantine")
        for row in report.quarantine:
            table.add_row(*map(_plain, row))
        console.print(table)
    if notes:
        table = Table(Column("study", overflow="fold"), "note", title="Out of the ordinary")
        for study in report.studies:
            for note in study.notes:
                table.add_row(_plain(study.study), _plain(note))
        console.print(table)
    for name in report.overwritten:
        console.print(
            _plain(f"{name}: its files changed since it was converted; run `snakemake --forcerun index_studies`")
        )
    for mistake in report.mistakes:
        console.print(_plain(f"error: {mistake}"), style="bold red", soft_wrap=True)
    for line in summary_lines(report):
        console.print(_plain(line), soft_wrap=True)
    rate = report.files / max(report.seconds, 1e-9)
    console.print(
        f"{report.files} files in {report.seconds:.1f} s: {rate:.0f} files/s with {report.processes} processes, "
        f"{rate / report.processes:.0f} per process"
    )


def _plain(text: object) -> Text:
    """Return text in which nothing is markup, and nothing commands the terminal."""
    from rich.text import Text

    return Text(visible(str(text)))


def _print_baseline(console: Console, report: DatasetReport, dataset: Path, files: int = 2000) -> None:
    """Time ``pydicom.dcmread(stop_before_pixels=True)`` in one process over the first files of the data set."""
    import pydicom

    from spine_models.data.dataset import layout

    paths: list[Path] = []
    images = dataset / layout.IMAGES
    for entry in layout.study_folders(images):
        if len(paths) >= files:
            break
        folder = images / entry.name
        paths += [folder / file.name for file in layout.list_files(folder, images, allow_symlinks=True)]
    begin = time.perf_counter()
    for path in paths[:files]:
        pydicom.dcmread(path, stop_before_pixels=True, force=True)
    seconds = time.perf_counter() - begin
    rate = min(files, len(paths)) / max(seconds, 1e-9)
    ours = report.files / max(report.seconds, 1e-9) / report.processes
    console.print(
        f"plain pydicom loop: {rate:.0f} files/s in one process; ours is {ours / rate:.2f} x of that per process"
    )
