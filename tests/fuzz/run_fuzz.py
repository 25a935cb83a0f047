"""Read damaged files until something breaks: ``python -m tests.fuzz.run_fuzz --cases 5000``.

Every case must end as "equal to an independent reading of the damaged bytes" or "refused with a code", within 10 s of
computing and 1 GB. Cases run in processes of their own, so that a decoder that takes the process down is seen and
counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz import bundle_cases, codestream_cases, dicom_cases, file_cases

KINDS: dict[str, Callable[[random.Random], str]] = {
    "dicom": dicom_cases.run_case,
    "codestream": codestream_cases.run_case,
    "label": file_cases.run_label_case,
    "table": file_cases.run_table_case,
    "configuration": file_cases.run_configuration_case,
    "bundle": bundle_cases.run_case,
}
SHARES = {"dicom": 0.5, "codestream": 0.2, "label": 0.1, "table": 0.1, "configuration": 0.06, "bundle": 0.04}
HANG_SECONDS = 10.0
MEMORY_BYTES = 1 << 30


@dataclass
class Findings:
    """Outcomes counted by kind, and the cases that went wrong: (kind, seed, what happened)."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[tuple[str, int, str]] = field(default_factory=list)
    seconds: float = 0.0
    peak_bytes: int = 0


def run_one(kind: str, seed: int) -> str:
    """Run one case in this process; return its outcome, or "wrong: ..." with the trace."""
    try:
        return KINDS[kind](random.Random(f"{kind}-{seed}"))
    except BaseException:  # a panic of a library in Rust is not an Exception
        return "wrong: " + traceback.format_exc()


def _work(pipe: Connection, cases: list[tuple[str, int]]) -> None:
    """Run cases in turn, and tell each outcome and the memory taken so far, beyond what the process began with."""
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # decoders write about damaged codestreams there
    for kind, seed in cases:
        outcome = run_one(kind, seed)
        pipe.send((outcome, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin) * 1024))
    pipe.close()


def fuzz(counts: dict[str, int], first_seed: int, hang_seconds: float = HANG_SECONDS) -> Findings:
    """Run ``counts[kind]`` cases of each kind."""
    findings = Findings()
    begin = time.perf_counter()
    cases = [(kind, first_seed + index) for kind, count in counts.items() for index in range(count)]
    if counts.get("bundle"):
        bundle_cases.originals()  # once, before processes fork
    while cases:
        cases = _batch(cases, findings, hang_seconds)
    findings.seconds = time.perf_counter() - begin
    return findings


def _batch(cases: list[tuple[str, int]], findings: Findings, hang_seconds: float) -> list[tuple[str, int]]:
    """Run cases in one process until it ends, hangs or dies; return those that are left."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_work, args=(theirs, cases))
    process.start()
    theirs.close()
    done = 0
    try:
        for kind, seed in cases:
            if not _answers(ours, process.pid or 0, hang_seconds):
                findings.wrong.append((kind, seed, f"it took more than {hang_seconds:.0f} s"))
                done += 1
                break
            try:
                outcome, memory = ours.recv()
            except EOFError:
                process.join()
                findings.wrong.append((kind, seed, f"the process died with status {process.exitcode}"))
                done += 1
                break
            done += 1
            _count(findings, kind, seed, outcome)
            if memory > max(MEMORY_BYTES, findings.peak_bytes):
                findings.wrong.append((kind, seed, f"it took {memory >> 20} MB"))
            findings.peak_bytes = max(findings.peak_bytes, memory)
    finally:
        process.kill()
        process.join()
    return cases[done:]


def _answers(pipe: Connection, pid: int, hang_seconds: float) -> bool:
    """Wait for a case's outcome; a process that computes or sleeps for too long gives none.

    On a busy machine a process may wait long for its turn to compute: what counts is the time that it computed.
    """
    begin, computed = time.monotonic(), _computed(pid)
    while not pipe.poll(min(hang_seconds, 0.5)):
        state, now = _state(pid), _computed(pid)
        waited = time.monotonic() - begin
        if now - computed > hang_seconds or (state == "S" and waited > hang_seconds) or waited > 60 * hang_seconds:
            return False
    return True


def _computed(pid: int) -> float:
    """CPU seconds of a process; 0 once it has ended."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _state(pid: int) -> str:
    """Return "R" for a process that computes or waits for its turn, "S" for one that sleeps (proc(5))."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _count(findings: Findings, kind: str, seed: int, outcome: str) -> None:
    if outcome.startswith("wrong: "):
        findings.wrong.append((kind, seed, outcome.removeprefix("wrong: ")))
    findings.outcomes[
        kind, outcome.partition("\n")[0] if outcome.startswith("refused") else outcome.partition(":")[0]
    ] += 1


def main() -> None:
    """Run the cases and print the outcomes; the status is 1 if any went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--kind", choices=list(KINDS), help="only this kind")
    parser.add_argument("--one", action="store_true", help="run the case --kind --seed in this process, with its trace")
    args = parser.parse_args()
    if args.one:
        print(KINDS[args.kind](random.Random(f"{args.kind}-{args.seed}")))
        return
    shares = {args.kind: 1.0} if args.kind else SHARES
    findings = fuzz({kind: round(args.cases * share) for kind, share in shares.items()}, args.seed)
    for (kind, outcome), count in sorted(findings.outcomes.items()):
        print(f"{kind:14} {outcome:32} {count}")
    for kind, seed, what in findings.wrong:
        print(f"WRONG {kind} {seed}: {what.strip().splitlines()[-1]}")
    total = sum(findings.outcomes.values())
    peak = findings.peak_bytes >> 20
    print(f"{total} cases in {findings.seconds:.0f} s, {len(findings.wrong)} wrong, peak memory {peak} MB")
    sys.exit(1 if findings.wrong else 0)


if __name__ == "__main__":
    main()
