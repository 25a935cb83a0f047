"""Which results of a run differ from what the checkout would make only in their code, as Snakemake plans it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from spine_models.configuration.workflow_files import require_current_folder
from spine_models.errors import UserError

_JOB = re.compile(r"^(?:local)?rule (?P<stage>\w+):\n(?P<body>(?: {4}.*\n?)*)", re.MULTILINE)
_REASON = re.compile(r"^ {4}reason: (.*)$", re.MULTILINE)
_CODE_ALONE = re.compile(
    r"Params have changed since last execution: Union of exclusive params before and now across all output: "
    r"before: '(?P<earlier>[0-9a-f]{16})' now: '(?P<code>[0-9a-f]{16})'"
)
_LATER = "Input files updated by another job"
"""The reason of a job that runs because one before it does; whether its inputs will differ shows only then."""


@dataclass(frozen=True)
class CodeDifference:
    """Results of one stage that only another code stands against.

    Attributes:
        stage: name of the rule.
        earlier: fingerprint under which they were made.
        code: fingerprint of the code now.
        results: number of jobs that would make them anew.
    """

    stage: str
    earlier: str
    code: str
    results: int


def planned_jobs(checkout: Path, arguments: Sequence[str]) -> str:
    """Return what ``snakemake -n`` says in the current folder.

    Args:
        checkout: folder of the workflow.
        arguments: of Snakemake, those with which the run was made.

    Raises:
        UserError: if the checkout holds no workflow, the current folder was removed, or Snakemake refuses.
    """
    require_current_folder()
    snakefile = checkout / "Snakefile"
    if not snakefile.is_file():
        raise UserError(f"{snakefile} is missing: run this command from the checkout whose workflow made the results")
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nocolor", "--snakefile", str(snakefile), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        # Snakemake's own errors are on its standard output, the workflow's sentences on the other.
        said = [line.strip() for line in f"{process.stderr}\n{process.stdout}".splitlines() if line.strip()]
        told = next((line for line in said if line.startswith("error: ")), said[-1] if said else "without a word")
        raise UserError(
            f"`snakemake --dry-run` fails ({told.removeprefix('error: ')}): correct what is behind --, or run it"
        )
    return process.stdout + process.stderr


def reasons_of_jobs(plan: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the rule of each job of a plan, and the reasons why it runs.

    Args:
        plan: from ``planned_jobs``.
    """
    for job in _JOB.finditer(plan):
        reason = _REASON.search(job["body"])
        yield job["stage"], [part.strip() for part in reason[1].split(";")] if reason else []


def code_parts(stage: str, code: str) -> dict[str, str] | None:
    """Return what the code of a rule is made from: a script, and the modules of the networks it is configured for.

    Args:
        stage: name of the rule.
        code: its fingerprint now; None is returned where the checkout's is another.
    """
    from spine_models.configuration.workflow_files import package_root, workflow_root
    from spine_models.models.networks import KINDS
    from spine_models.provenance.fingerprint import Fingerprints, fingerprint

    fingerprints, modules = Fingerprints(package_root()), sorted({kind.module for kind in KINDS.values()})
    choices = (chosen for number in range(len(modules) + 1) for chosen in combinations(modules, number))
    script = str(workflow_root() / "workflow_scripts" / f"{stage}.py")
    tried = (fingerprints.parts(script, chosen) for chosen in choices)
    return next((parts for parts in tried if fingerprint(parts) == code), None)


def code_differences(plan: str) -> list[CodeDifference]:
    """Return the results that differ only in their code, in the order of the plan.

    A job whose configuration, input files or command changed as well, or whose results are missing, is not among them.

    Args:
        plan: from ``planned_jobs``.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    for stage, reasons in reasons_of_jobs(plan):
        own = [part for part in reasons if not part.startswith(_LATER)]
        found = _CODE_ALONE.fullmatch(own[0]) if len(own) == 1 else None
        if found:
            counts[stage, found["earlier"], found["code"]] += 1
    return [CodeDifference(*key, number) for key, number in counts.items()]
