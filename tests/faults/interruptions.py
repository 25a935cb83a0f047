"""Let jobs die, or calls of the operating system fail in them, and see what the next run does with it.

A job takes its fault from the environment (``tests/workflow/warm.py``): it ends by SIGKILL after a random time or at a
call, or the call fails with an error number (``errno_shim.py``). Signals to Snakemake itself come from outside.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.recovery import FOUND_AGAIN, OUTPUTS, End, Run, outputs_from, recovered, remove, sentences, strays

VARIABLE = "JOB_FAULT"
"""``rule:fault`` for the jobs of a rule."""

_CALLS = {
    "open": ("EIO", "ESTALE", "EMFILE", "EINTR", "SIGKILL"),
    "fsync": ("ENOSPC", "EIO", "EDQUOT", "SIGKILL"),
    "rename": ("ENOSPC", "EIO", "EROFS", "SIGKILL"),
    "flock": ("ENOLCK",),
}
_LOCKING = ("convert_volumes", "convert_labels", "infer_masks", "make_crops", "train_segmentation", "train_classifier")
_SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


@dataclass(frozen=True)
class Interruption:
    """What happens to the jobs of a rule.

    Attributes:
        kind: of the fault, for the table.
        rule: whose jobs it hits.
        what: for ``errno_shim.install``, or "kill" and the seconds until then; a signal to Snakemake where it is one.
    """

    kind: str
    rule: str
    what: str


def interruptions(number: int, seed: int) -> Iterator[Interruption]:
    """Yield ``number`` faults, every rule in turn."""
    draw = random.Random(seed)
    rules = list(OUTPUTS)
    for index in range(number):
        rule, choice = rules[index % len(rules)], draw.random()
        if choice < 0.15:
            yield Interruption("job killed", rule, f"kill {draw.uniform(0.0, 1.5):.2f}")
        elif choice < 0.22:
            yield Interruption("memory limit below what it needs", rule, f"memory {draw.choice((2, 4, 8, 16))}")
        elif choice < 0.35:
            name = draw.choice(_SIGNALS)
            yield Interruption(f"{name} to Snakemake", rule, f"{name} {draw.uniform(0.5, 4.0):.2f}")
        else:
            call = draw.choice([name for name in _CALLS if name != "flock" or rule in _LOCKING])
            error = draw.choice(_CALLS[call])
            which = f"{draw.randint(1, 4)}{'+' if error in ('ENOSPC', 'EDQUOT', 'EROFS', 'ENOLCK') else ''}"
            source = call == "open" and rule in ("index_studies", "convert_volumes") and draw.random() < 0.5
            kind = f"{error} at {call}" if error != "SIGKILL" else f"job killed at {call}"
            yield Interruption(kind, rule, f"{call} {error} {which} {'*train_images*' if source else '*results/*'}")


def end_of(
    results: Path,
    undisturbed: dict[str, bytes],
    fault: Interruption,
    run: Run,
    start: Callable[[], subprocess.Popen[str]],
) -> End:
    """Remove what a rule and later ones made, run with the fault, then without it, and compare.

    Args:
        results: the output folder of a copy of the finished run.
        undisturbed: ``contents`` of the finished run.
        fault: what happens.
        run: runs Snakemake on the copy, with arguments and variables of the environment.
        start: starts the same run in a process group of its own.
    """
    for pattern in [*outputs_from(fault.rule), *FOUND_AGAIN.get(fault.rule, ())]:
        remove(results, pattern)
    shutil.rmtree(results / "logs", ignore_errors=True)
    if fault.what.split(" ")[0] in _SIGNALS:
        _signal(start(), fault.what)
        run("--unlock")
        # Jobs that outlive their Snakemake say so to the next one, and end.
        time.sleep(3.0)
        how = "stopped"
    else:
        process = run(**{VARIABLE: f"{fault.rule}:{fault.what}"})
        told = sentences(results, process)
        if "Traceback (most recent call last)" in process.stdout + process.stderr + _logs(results):
            return End("a trace", False, told[0] if told else "", fault.rule)
        died = "SIGKILL" in fault.what or fault.what.startswith("kill")
        if process.returncode and not died and not told:
            return End("failed without a sentence", False, "", fault.rule)
        how = "over before, or tried again" if not process.returncode else "died" if died else "one sentence"
    end = recovered(results, undisturbed, run, fault.rule)
    end = dataclasses.replace(end, how=f"{how}; then complete") if end.right else end
    left = strays(results)
    return End("stray temporary files", False, left[0], fault.rule) if left and end.right else end


def _signal(process: subprocess.Popen[str], what: str) -> None:
    name, seconds = what.split(" ")
    try:
        process.wait(timeout=float(seconds))
    except subprocess.TimeoutExpired:
        if name == "SIGKILL":
            process.kill()
        else:
            os.killpg(process.pid, getattr(signal, name))
        process.wait(timeout=60)


def _logs(results: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in (results / "logs").rglob("*.log"))
