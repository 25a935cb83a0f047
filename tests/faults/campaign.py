"""A finished run, and faults in copies of it: `make chaos`.

    python -m tests.faults.campaign --faults 60 --seed 0

Two of five faults damage a file, one of six happens around the jobs, the others hit a job or Snakemake itself. Jobs
start warm, see ``tests/workflow/warm.py``. The exit status is 0 where every fault ended with the undisturbed results,
byte for byte.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.faults import corruptions, interruptions, surroundings
from tests.faults.recovery import End, contents
from tests.workflow import warm
from tests.workflow.finished_run import copy_run, make_run, run
from tests.workflow.runs import ROOT

Fault = corruptions.Fault | interruptions.Interruption | surroundings.Surrounding


class Campaign:
    """One finished run, and a copy of it for each fault.

    Args:
        finished: folder of the run (``make_run``).
        folder: for the copies.
        environment: in which jobs start warm.
    """

    def __init__(self, finished: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._finished, self._folder, self._environment = finished, folder, environment
        self.undisturbed = contents(finished / "work/results")

    def end_of(self, fault: Fault) -> End:
        """Copy the run, let the fault happen, and say what became of it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        project, work = copy_run(self._finished, self._folder)

        def again(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
            return run(project, work, "--cores", "2", *arguments, **self._environment, **more)

        def start(
            *arguments: str, stdout: int = subprocess.DEVNULL, stderr: int = subprocess.DEVNULL
        ) -> subprocess.Popen[str]:
            where = ["--snakefile", project / "Snakefile", "--directory", work, "--configfile", work / "overlay.yaml"]
            return subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, *where],
                cwd=project,
                env={**os.environ, **self._environment},
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )

        if isinstance(fault, corruptions.Fault):
            return corruptions.end_of(work / "results", self.undisturbed, fault, again)
        if isinstance(fault, surroundings.Surrounding):
            return surroundings.end_of(work / "results", self.undisturbed, fault, again, start)
        return interruptions.end_of(work / "results", self.undisturbed, fault, again, start)


def faults(number: int, seed: int) -> Iterator[tuple[str, Fault]]:
    """Yield ``number`` faults with the kind of each."""
    damaged, around = 2 * number // 5, number // 6
    for fault in corruptions.faults(damaged, seed):
        yield f"{fault.damage} in a file", fault
    for surrounding in surroundings.surroundings(around, seed):
        yield surrounding.kind, surrounding
    for interruption in interruptions.interruptions(number - damaged - around, seed):
        yield interruption.kind, interruption


def main() -> None:
    """Run a campaign and print a table: kind, faults, what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder, started = Path(tempfile.mkdtemp(prefix="faults-")), time.monotonic()
    ends: Counter[tuple[str, str]] = Counter()
    wrong = 0
    with warm.environment(folder) as environment:
        campaign = Campaign(make_run(folder / "finished", environment, new_studies=3), folder / "copy", environment)
        for number, (kind, fault) in enumerate(faults(arguments.faults, arguments.seed), start=1):
            end = campaign.end_of(fault)
            sys.stderr.write(f"{number}/{arguments.faults} {kind}: {end.how}\n")
            ends[kind, end.how] += 1
            wrong += not end.right
            if not end.right:
                sys.stdout.write(f"{fault}: {end}\n")
                sys.stdout.flush()
    shutil.rmtree(folder)
    sys.stdout.write("| fault | times | ended with |\n|---|---|---|\n")
    for (kind, how), times in sorted(ends.items()):
        sys.stdout.write(f"| {kind} | {times} | {how} |\n")
    kinds, minutes = len({kind for kind, _ in ends}), (time.monotonic() - started) / 60
    sys.stdout.write(
        f"{ends.total()} faults of {kinds} kinds in {minutes:.0f} min (seed {arguments.seed}): {wrong} wrong\n"
    )
    sys.exit(wrong > 0)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
