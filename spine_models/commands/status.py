"""How far a run of the workflow is, from the files that it writes; nothing is locked or changed."""

from __future__ import annotations

import csv
import fcntl
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from spine_models.errors import UserError
from spine_models.log import show

_PACE = re.compile(r"^\w+: (\d+ of \d+ \w+(?:, .* left)?)$")
_CLOCK_S = 2.0
"""So much may the clocks of the disk and of the machine that started the run differ."""


@dataclass
class RuleStatus:
    """The jobs of one rule.

    Attributes:
        planned: jobs that the run set out to do.
        done: of those.
        running: jobs that have begun and not ended, with the last line about their progress.
        failed: jobs whose log ends in an error.
        seconds: of every finished job, also of earlier runs.
        memory_mb: the most that one of them held; 0 where nobody measured.
    """

    planned: int = 0
    done: int = 0
    running: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory_mb: float = 0.0

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return max(0, self.planned - self.done - len(self.running) - len(self.failed))

    @property
    def left_s(self) -> float | None:
        """Seconds that the jobs that are not done take one after the other; None where no job tells."""
        open_jobs = self.waiting + len(self.running)
        if not open_jobs:
            return 0.0
        return open_jobs * sum(self.seconds) / len(self.seconds) if self.seconds else None


def status(
    output_dir: Annotated[Path, typer.Argument(metavar="OUTPUT", help="output_dir of the run.")],
) -> None:
    """Say how far a run is, and how long the rest takes.

    It tells jobs, remaining time, memory and disk of a run that goes on, has ended or was stopped, and changes nothing.

    Examples:
      spine-models status demo
    """
    show(status_of(output_dir))


def status_of(output_dir: Path) -> str:
    """Return the state of a run as lines of text.

    Raises:
        UserError: if there is no run in ``output_dir``.
    """
    from spine_models.provenance.plan import read_plan

    if not output_dir.is_dir():
        raise UserError(f"{output_dir} is not a folder: give the output_dir of a run")
    plan = read_plan(output_dir)
    if plan is None and not (output_dir / "logs").is_dir():
        raise UserError(f"{output_dir} holds no run: give the output_dir of one")
    started = plan.started if plan else 0.0
    rules = rule_states(output_dir, started, plan.jobs if plan else {})
    lines = [_headline(output_dir, started, rules), "", *_table(rules), "", *_remaining(rules)]
    lines += [f"{'now':12}{job}: {line}" for rule in rules.values() for job, line in rule.running.items() if line]
    lines += [f"{'failed':12}see {log}" for rule in rules.values() for log in rule.failed]
    return "\n".join([*lines, f"{'disk':12}{_disk(output_dir)}"])


def rule_states(output_dir: Path, started: float, planned: dict[str, int]) -> dict[str, RuleStatus]:
    """Return the state of every rule, those that the run planned first.

    Args:
        output_dir: of the run.
        started: when the run began; files from before are of earlier ones.
        planned: rule to jobs.
    """
    rules = {rule: RuleStatus(planned=count) for rule, count in planned.items()}
    ended: set[str] = set()
    for rule, name, path in _files(output_dir / "benchmarks", ".tsv"):
        state = rules.setdefault(rule, RuleStatus())
        for row in _rows(path):
            state.seconds.append(row[0])
            state.memory_mb = max(state.memory_mb, row[1])
        if path.stat().st_mtime >= started - _CLOCK_S:
            state.done += 1
            ended.add(name)
    for rule, name, path in _files(output_dir / "logs", ".log"):
        if name in ended or path.stat().st_mtime < started - _CLOCK_S:
            continue
        state = rules.setdefault(rule, RuleStatus())
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if any(line.startswith(("error: ", "Traceback ")) for line in lines):
            state.failed.append(str(path))
        else:
            told = [found[1] for found in map(_PACE.match, lines) if found]
            state.running[name] = told[-1] if told else ""
    return rules


def _files(folder: Path, suffix: str) -> Iterator[tuple[str, str, Path]]:
    """Yield rule, job and file; a rule of one job has a file of its own name."""
    for path in sorted(folder.rglob(f"*{suffix}")):
        name = path.relative_to(folder).with_suffix("")
        yield name.parts[0], name.as_posix(), path


def _rows(path: Path) -> Iterator[tuple[float, float]]:
    """Yield seconds and memory (MB) of each run that Snakemake measured."""
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            try:
                seconds = float(row["s"])
            except (KeyError, TypeError, ValueError):
                continue
            try:
                yield seconds, float(row["max_rss"])
            except (KeyError, TypeError, ValueError):
                yield seconds, 0.0


def _headline(output_dir: Path, started: float, rules: dict[str, RuleStatus]) -> str:
    when = f" since {time.strftime('%Y-%m-%d %H:%M', time.localtime(started))}" if started else ""
    if _is_going_on(output_dir):
        return f"{'run':12}going on{when}"
    left = sum(rule.waiting + len(rule.running) + len(rule.failed) for rule in rules.values())
    if not left:
        return f"{'run':12}finished; it began{when.replace(' since', '')}" if started else f"{'run':12}not going on"
    return f"{'run':12}stopped with {left} jobs left: run the same command again"


def _is_going_on(output_dir: Path) -> bool:
    """Say whether Snakemake's main process holds the lock of the folder."""
    try:
        with (output_dir / ".lock").open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _table(rules: dict[str, RuleStatus]) -> Iterator[str]:
    yield f"{'rule':22}{'done':>6}{'running':>9}{'waiting':>9}{'failed':>8}{'s a job':>10}{'memory MB':>11}"
    for name, rule in rules.items():
        mean = f"{sum(rule.seconds) / len(rule.seconds):.1f}" if rule.seconds else "-"
        memory = f"{rule.memory_mb:.0f}" if rule.memory_mb else "-"
        counts = f"{rule.done:>6}{len(rule.running):>9}{rule.waiting:>9}{len(rule.failed):>8}"
        yield f"{name:22}{counts}{mean:>10}{memory:>11}"


def _remaining(rules: dict[str, RuleStatus]) -> Iterator[str]:
    """Yield how long the rest takes, by the mean of each rule's finished jobs, as many at once as run now."""
    open_rules = {name: rule for name, rule in rules.items() if rule.waiting or rule.running}
    if not open_rules:
        return
    at_once = max(1, sum(len(rule.running) for rule in rules.values()))
    unknown = [name for name, rule in open_rules.items() if rule.left_s is None]
    seconds = sum(rule.left_s or 0.0 for rule in open_rules.values()) / at_once
    more = f", and what {', '.join(unknown)} take, of which no job has ended yet" if unknown else ""
    yield f"{'remaining':12}about {_duration(seconds)} with {at_once} jobs at once{more}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _disk(output_dir: Path) -> str:
    sizes = {}
    for folder in sorted(path for path in output_dir.iterdir() if path.is_dir()):
        sizes[folder.name] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    total = sum(sizes.values())
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    return f"{total / 1e9:.2f} GB, most in " + ", ".join(f"{name} {size / 1e9:.2f}" for name, size in largest)
