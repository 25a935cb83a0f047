"""Results that differ only in their code: which they are, and which of them a person takes as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spine_models.errors import UserError
from spine_models.log import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spine_models.commands.code_differences import CodeDifference
    from spine_models.provenance.acceptance import Acceptance


def accept(
    output_dir: Annotated[Path, typer.Argument(metavar="OUTPUT", help="output_dir of the run.")],
    snakemake: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGUMENTS", help="What you give to snakemake for this run.")
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Accept its results; may be given several times.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why the code makes the same as before; needed with --stage.")] = "",
) -> None:
    """Keep results that differ only in their code.

    After an upgrade of the checkout: list them, or accept those of some stages, so that nothing is made anew. Without
    --stage nothing is written. Results whose configuration or inputs differ too are not listed, and are made anew all
    the same.

    Examples:
      spine-models accept results -- --config dataset_dir=/data/rsna
      spine-models accept results --stage train_segmentation --reason "a constant renamed" -- --configfile my.yaml
    """
    from spine_models.commands.code_differences import code_differences, planned_jobs
    from spine_models.configuration.workflow_files import workflow_root

    if not output_dir.is_dir():
        raise UserError(f"{output_dir} is not a folder: give the output_dir of a run")
    if stage and not reason.strip():
        raise UserError("--stage without --reason: say why the code makes the same as before")
    arguments = snakemake or []
    differences = code_differences(planned_jobs(workflow_root(), arguments))
    lines = [(found, _acceptance(output_dir, found, reason.strip())) for found in differences]
    if not stage:
        show("\n".join(_line(*line) for line in lines) or "no result differs only in its code")
        return
    chosen = _chosen(lines, stage)
    _store(output_dir, chosen, arguments)
    for line in chosen:
        show(f"{line.stage}: the results of code {line.accepted} are accepted for code {line.code}")


def _acceptance(output_dir: Path, found: CodeDifference, reason: str) -> Acceptance:
    from spine_models.commands.code_differences import code_parts
    from spine_models.provenance.acceptance import Acceptance
    from spine_models.provenance.stored_code import changed_modules

    parts = code_parts(found.stage, found.code)
    modules = None if parts is None else changed_modules(output_dir, found.earlier, parts)
    return Acceptance(found.stage, found.code, found.earlier, modules, reason)


def _line(found: CodeDifference, line: Acceptance) -> str:
    modules = "modules unknown" if line.modules is None else ", ".join(line.modules)
    results = "1 result" if found.results == 1 else f"{found.results} results"
    return f"{found.stage}: {results} of code {found.earlier}, now {found.code}; changed: {modules}"


def _chosen(lines: Sequence[tuple[CodeDifference, Acceptance]], stages: Sequence[str]) -> list[Acceptance]:
    """Return one line for each stage and code: where results stand on several codes, that of the most results."""
    there = {found.stage for found, _ in lines}
    unknown = [name for name in stages if name not in there]
    if unknown:
        known = f"those that do are {', '.join(sorted(there))}" if there else "no stage does"
        raise UserError(f"--stage {unknown[0]}: no result of it differs only in its code; {known}")
    ordered = sorted(lines, key=lambda line: line[0].results)
    chosen = {(found.stage, found.code): line for found, line in ordered if found.stage in stages}
    return list(chosen.values())


def _store(output_dir: Path, chosen: Sequence[Acceptance], arguments: Sequence[str]) -> None:
    """Write the lines, and take them back if the workflow does not read them there."""
    from spine_models.commands.code_differences import code_differences, planned_jobs
    from spine_models.configuration.workflow_files import workflow_root
    from spine_models.provenance.acceptance import read_acceptances, write_acceptances

    before = read_acceptances(output_dir)
    write_acceptances(output_dir, [*before, *chosen])
    accepted = {(line.stage, line.accepted, line.code) for line in chosen}
    for left in code_differences(planned_jobs(workflow_root(), arguments)):
        if (left.stage, left.earlier, left.code) in accepted:
            write_acceptances(output_dir, before)
            raise UserError(
                f"{output_dir} is not the output_dir of the run that these arguments of snakemake plan: give its own"
            )
