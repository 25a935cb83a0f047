"""Measure which lines and branches of the library and of the rules' scripts the tests reach: ``make coverage``.

    python -m benchmarks.coverage [--page PAGE] [ARGUMENTS OF PYTEST]

Without arguments the whole suite runs, and docs/coverage.md is written. Jobs of Snakemake, commands and workers are
processes of their own: each of them measures itself, and what all have seen counts. A process that is killed reports
nothing. The tool is coverage.py; its settings are in pyproject.toml.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.errors import UserError, run_command
from spine_models.log import say, show

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build/coverage"
TOOL = WORK / "tool"
DATA = WORK / "data/measured"
"""One file a process, with its number behind the name."""
PAGE = ROOT / "docs/coverage.md"
_HOOK = Path(sysconfig.get_path("purelib")) / "spine_models_coverage.pth"
"""Python reads it at the start of each process of the environment, whatever its folder and its PYTHONPATH."""
_START = (
    "import os, sys; tool = os.environ.get('SPINE_MODELS_COVERAGE'); "
    "tool and (sys.path.append(tool), __import__('coverage').process_startup())\n"
)


@dataclass(frozen=True)
class Reached:
    """What the tests reach of some code.

    Attributes:
        lines: that can run.
        lines_run: of them.
        branches: ways that a condition, loop or match can go.
        branches_run: of them.
    """

    lines: int
    lines_run: int
    branches: int
    branches_run: int

    @classmethod
    def of(cls, summary: dict[str, Any]) -> Reached:
        """Read a summary of coverage's JSON report."""
        keys = ("num_statements", "covered_lines", "num_branches", "covered_branches")
        return cls(*(summary[key] for key in keys))

    @property
    def cells(self) -> str:
        return f"{_share(self.lines_run, self.lines)} | {_share(self.branches_run, self.branches)}"

    @property
    def is_whole(self) -> bool:
        return (self.lines_run, self.branches_run) == (self.lines, self.branches)


def main() -> None:
    """Run the tests, show what they reach, and end with the status of pytest."""
    parser = argparse.ArgumentParser(prog="benchmarks.coverage", description=__doc__)
    parser.add_argument("--page", type=Path, help="Markdown file to write; docs/coverage.md after the whole suite")
    arguments, of_pytest = parser.parse_known_args()
    if not (TOOL / "coverage").is_dir():
        raise UserError("coverage is not in build/coverage/tool: run `make coverage`")
    shutil.rmtree(DATA.parent, ignore_errors=True)
    DATA.parent.mkdir()
    with _each_process_measured():
        status, last = _pytest(of_pytest or ["--numprocesses", str((os.cpu_count() or 1) + 1), "--dist", "loadgroup"])
    report = _report()
    command = " ".join(["make coverage", *([f'ARGUMENTS="{" ".join(of_pytest)}"'] if of_pytest else [])])
    text = page(report, command, last)
    show(text)
    place = arguments.page or (None if of_pytest else PAGE)
    if place is not None:
        place.write_text(text, encoding="utf-8")
        say(f"written: {place}")
    raise SystemExit(status)


def page(report: dict[str, Any], command: str, last: str) -> str:
    """Return the page, as Markdown.

    Args:
        report: coverage's JSON report.
        command: that measured it.
        last: pytest's last line.
    """
    modules = {_name(file): content for file, content in sorted(report["files"].items())}
    reached = {name: Reached.of(content["summary"]) for name, content in modules.items()}
    partly = [name for name in reached if not reached[name].is_whole and reached[name].lines_run]
    unseen = [f"`{name}`" for name in reached if reached[name].lines and not reached[name].lines_run]
    never = {name: unreached for name in partly if (unreached := _never_run(modules[name]))}
    lines = [
        "# What the tests reach",
        "",
        f"Measured by `{command}`, which writes this page.",
        "Every process that the tests start counts, but those that are killed. Triton's kernels run on a GPU, where",
        "Python sees none of their lines.",
        f"pytest ended with: {last.strip(' =')}.",
        "",
        "| module | lines | branches |",
        "|---|---|---|",
        f"| all | {Reached.of(report['totals']).cells} |",
        *(f"| `{name}` | {reached[name].cells} |" for name in partly),
        "",
        f"The other {len(reached) - len(partly) - len(unseen)} modules are reached as a whole.",
        "",
        "## Never run",
        "",
        f"Modules: {', '.join(unseen) or 'none'}.",
        "",
        *(f"* `{name}`: {', '.join(f'`{function}`' for function in functions)}" for name, functions in never.items()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _never_run(module: dict[str, Any]) -> list[str]:
    """Return the functions without a line that ran; the lines outside of all functions have no name."""
    found = ((name, Reached.of(function["summary"])) for name, function in module["functions"].items() if name)
    return [name for name, reached in found if reached.lines and not reached.lines_run]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.1%})" if whole else "-"


def _name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@contextmanager
def _each_process_measured() -> Iterator[None]:
    """Let every Python that starts meanwhile in this environment, with our variables, measure itself."""
    _HOOK.write_text(_START)
    try:
        yield
    finally:
        _HOOK.unlink()


def _pytest(arguments: list[str]) -> tuple[int, str]:
    """Run the tests, and return the status and the last line."""
    variables = {
        "SPINE_MODELS_COVERAGE": str(TOOL),
        "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"),
        "COVERAGE_FILE": str(DATA),
        "SPINE_MODELS_ROOT": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = ""
        for line in process.stdout:
            sys.stderr.write(line)
    return process.returncode, line.strip()


def _report() -> dict[str, Any]:
    """Put together what all processes have measured."""
    out = WORK / "report.json"
    environment = os.environ | {"PYTHONPATH": str(TOOL), "COVERAGE_FILE": str(DATA)}
    for words in (["combine", "--quiet"], ["json", "--quiet", "-o", str(out)]):
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UserError(f"coverage {words[0]} failed: {(done.stdout + done.stderr).strip()}")
    report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return report


if __name__ == "__main__":
    run_command(main)
