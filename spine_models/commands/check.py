"""Look at a data set before anything runs: ``spine-models check DIR``.

Headers alone are read, on all cores; damaged pixels are found by the conversion.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from spine_models.data.dataset import layout
from spine_models.data.stages.check_dataset import DatasetReport, check_dataset, summary_lines, usable_cores
from spine_models.errors import run_command


def main() -> None:
    """Parse the arguments, look, and print what was found; the status is 1 for wrong tables, or if --strict says so."""
    args = _parser().parse_args()
    console = Console(highlight=False)
    cores = args.processes or usable_cores()
    columns = SpinnerColumn(), TextColumn("headers of"), MofNCompleteColumn(), TextColumn("files"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        report = check_dataset(
            args.dataset,
            args.allow_symlinks,
            args.output_dir,
            cores,
            lambda n: bar.advance(task, n),
            args.label_geometry,
        )
    _print(console, report, args.notes)
    if args.baseline:
        _print_baseline(console, report, args.dataset)
    if report.mistakes or (args.strict and (report.quarantine or report.overwritten)):
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spine-models check", description=__doc__)
    parser.add_argument("dataset", type=Path, metavar="DIR", help="the data set, as dataset_dir of the configuration")
    parser.add_argument("--output-dir", type=Path, help="of an earlier run: find files overwritten in place since")
    parser.add_argument("--allow-symlinks", action="store_true", help="follow links that lead out of the data set")
    parser.add_argument("--label-geometry", choices=("affine", "index"), default="affine", help="as configured")
    parser.add_argument(
        "--notes", action="store_true", help="list what is out of the ordinary in studies that are used"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with status 1 if anything is refused or overwritten"
    )
    parser.add_argument("--processes", type=int, default=0, help="that read headers; 0: one a core")
    parser.add_argument("--baseline", action="store_true", help="time a plain pydicom loop over some files as well")
    return parser


def _print(console: Console, report: DatasetReport, notes: bool) -> None:
    if report.quarantine:
        table = Table(Column("study", overflow="fold"), "stage", "code", "reason", title="Quarantine")
        for row in report.quarantine:
            table.add_row(*row)
        console.print(table)
    if notes:
        table = Table(Column("study", overflow="fold"), "note", title="Out of the ordinary")
        for study in report.studies:
            for note in study.notes:
                table.add_row(study.study, note)
        console.print(table)
    for name in report.overwritten:
        console.print(f"{name}: its files changed since it was converted; run `snakemake --forcerun index_studies`")
    for mistake in report.mistakes:
        console.print(f"error: {mistake}", style="bold red", soft_wrap=True)
    for line in summary_lines(report):
        console.print(line, soft_wrap=True)
    rate = report.files / max(report.seconds, 1e-9)
    console.print(
        f"{report.files} files in {report.seconds:.1f} s: {rate:.0f} files/s with {report.processes} processes, "
        f"{rate / report.processes:.0f} a process"
    )


def _print_baseline(console: Console, report: DatasetReport, dataset: Path, files: int = 2000) -> None:
    """Time ``pydicom.dcmread(stop_before_pixels=True)`` in one process over the first files of the data set."""
    import pydicom

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
        f"plain pydicom loop: {rate:.0f} files/s in one process; ours is {ours / rate:.2f} x of that a process"
    )


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    run_command(main)
