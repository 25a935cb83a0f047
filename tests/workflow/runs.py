"""Running this checkout's workflow in a test."""

import os
import subprocess
import sys
from pathlib import Path

from tests.workflow import warm

ROOT = Path(__file__).parents[2]


def snakemake(*arguments, directory, root=ROOT, timeout=600, **environment):
    """Run this checkout's workflow in ``directory`` and return the finished process with its output as text."""
    # Where the jobs start warm, so does Snakemake.
    python = [sys.executable, "-S", "-E", warm.__file__] if warm.SOCKET in environment else [sys.executable]
    command = [*python, "-m", "snakemake", "--snakefile", root / "Snakefile", "--directory", directory]
    return subprocess.run(
        [*command, *arguments],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def planned(process):
    """Return rule to number of jobs of a dry run's table."""
    assert process.returncode == 0, process.stdout + process.stderr
    text = process.stdout + process.stderr
    if "Nothing to be done" in text:
        return {}
    table = text.rsplit("Job stats:", 1)[1].split("\n\n", 1)[0].splitlines()
    return {rule: int(count) for rule, count in (line.split() for line in table[3:]) if rule != "total"}
