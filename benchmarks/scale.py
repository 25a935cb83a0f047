"""Time and memory of a dry run and of a run with nothing to do, at 2,019, 20,000 and 200,000 studies.

    python -m benchmarks.scale

The data sets are folders with one empty file each: planning looks at nothing else. The other side of the comparison is
a workflow of the same five data rules with one job per study, at 2,019 studies. Times are the best of three.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data_sets import write_empty_studies
from benchmarks.row import Row, at_most
from spine_models.data.dataset.layout import folders_digests
from spine_models.provenance.fingerprint import Fingerprints

ROOT = Path(__file__).parents[1]
CHALLENGE, STUDIES = 2019, (2019, 20_000, 200_000)
SHARDS = 64
DATA_RULES = ("index_studies", "convert_volumes", "convert_labels", "infer_masks", "make_crops")
_TRIVIAL_JOBS = 100


@dataclass(frozen=True)
class Cost:
    """Wall-clock seconds and peak memory (MiB) of a process."""

    seconds: float
    mebibytes: float


def measure() -> list[Row]:
    """Measure and return the rows."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        dry: dict[int, Cost] = {}
        idle: dict[int, Cost] = {}
        for studies in STUDIES:
            options = _workflow(write_empty_studies(folder / str(studies), studies), folder / f"work{studies}")
            dry[studies] = _best([*options, "--dry-run", "--quiet", "all"])
            _finish(options, folder / f"work{studies}")
            idle[studies] = _best(options)
        look = _seconds(lambda: folders_digests(folder / str(STUDIES[-1]), SHARDS))
        per_study = _per_study(folder / "per_study")
        per_job = _seconds_a_job(folder / "trivial")
    looks = _alone(f"the look at {STUDIES[-1]} folders alone, s", look)
    return [*_rows(dry, idle, per_study), looks, *_scheduling_rows(per_job), _fingerprints_row()]


def _rows(dry: dict[int, Cost], idle: dict[int, Cost], per_study: Cost) -> list[Row]:
    first, last = STUDIES[0], STUDIES[-1]
    rows = [
        _limit(f"dry run, {first} studies in {SHARDS} shards, s", dry[first].seconds, 3.0),
        _limit(f"nothing to do, {first} studies in {SHARDS} shards, s", idle[first].seconds, 5.0),
        at_most(
            f"dry run, {last} against {first} studies, s",
            dry[last].seconds,
            dry[first].seconds,
            dry[last].seconds / dry[first].seconds,
            1.5,
        ),
    ]
    for name, costs in (("dry run", dry), ("nothing to do", idle)):
        for studies in STUDIES[1:]:
            ours, other = costs[studies], costs[first]
            rows.append(_reported(f"{name}, {studies} against {first} studies, s", ours.seconds, other.seconds))
            rows.append(_reported(f"{name}, {studies} against {first} studies, MiB", ours.mebibytes, other.mebibytes))
    rows.append(
        _reported(
            f"dry run, shards against one job per study, {first} studies, s", dry[first].seconds, per_study.seconds
        )
    )
    rows.append(
        _reported(
            f"dry run, shards against one job per study, {first} studies, MiB",
            dry[first].mebibytes,
            per_study.mebibytes,
        )
    )
    return rows


def _scheduling_rows(per_job: float) -> list[Row]:
    ours, other = per_job * SHARDS * len(DATA_RULES), per_job * CHALLENGE * len(DATA_RULES)
    return [
        _alone("scheduling, s a job that does nothing", per_job),
        _reported(f"scheduling the data rules, shards against one job per study, {CHALLENGE} studies, s", ours, other),
    ]


def _fingerprints_row() -> Row:
    def all_of_them() -> None:
        fingerprints = Fingerprints(ROOT)
        for script in sorted((ROOT / "workflow_scripts").glob("*.py")):
            fingerprints.parts(f"workflow_scripts/{script.name}")

    return _limit("fingerprints of all rules, s a start", _seconds(all_of_them), 0.5)


def _seconds(function: Callable[[], object]) -> float:
    """Return the seconds of the best of three calls."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def _alone(name: str, seconds: float) -> Row:
    return Row(name, float(f"{seconds:.3g}"), None, None, None, True)


def _limit(name: str, seconds: float, limit: float) -> Row:
    return Row(name, float(f"{seconds:.3g}"), None, None, limit, seconds <= limit)


def _reported(name: str, ours: float, other: float) -> Row:
    return at_most(name, ours, other, ours / other, None)


def _workflow(dataset: Path, work: Path) -> list[str]:
    work.mkdir()
    place = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(work)]
    config = [f"dataset_dir={dataset}", f"shards={SHARDS}", "pretrained=none"]
    return [*place, "--config", *config]


def _finish(options: list[str], work: Path) -> None:
    """Write every output, and Snakemake's own record of them, without running a job."""
    summary = subprocess.run(_command([*options, "--summary"]), check=True, capture_output=True, text=True).stdout
    for line in summary.splitlines():
        name = line.split("\t")[0]
        if name.startswith("results/"):
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if path.name == "epochs" else path.write_text("x")
    subprocess.run(_command([*options, "--touch", "--forceall", "--cores", "1"]), check=True, capture_output=True)


def _per_study(work: Path) -> Cost:
    """Dry run of a workflow of the same data rules with one job per study."""
    return _best([*_chain(work, DATA_RULES, [f"1.2.{n}" for n in range(CHALLENGE)]), "--dry-run", "--quiet", "all"])


def _seconds_a_job(work: Path) -> float:
    """Return what a job costs that does nothing, by one run of many and one of none."""
    options = [*_chain(work, ["nothing"], map(str, range(_TRIVIAL_JOBS))), "--cores", "2", "--scheduler", "greedy"]
    run = _cost(options)
    return (run.seconds - _cost(options).seconds) / _TRIVIAL_JOBS


def _chain(work: Path, rules: Iterable[str], units: Iterable[str]) -> list[str]:
    """Write a workflow of rules that each read what the one before made of the same unit."""
    work.mkdir()
    last = ""
    text = [f"UNITS = {list(units)}\n"]
    for rule in rules:
        source = f'    input: "{last}/{{unit}}"\n' if last else ""
        text.append(f'rule {rule}:\n{source}    output: "{rule}/{{unit}}"\n    shell: "touch {{output}}"\n')
        last = rule
    target = f'rule all:\n    default_target: True\n    input: expand("{last}/{{unit}}", unit=UNITS)\n'
    (work / "Snakefile").write_text("\n".join([*text, target]))
    return ["--snakefile", str(work / "Snakefile"), "--directory", str(work)]


def _best(options: list[str]) -> Cost:
    costs = [_cost(options) for _ in range(3)]
    return min(costs, key=lambda cost: cost.seconds)


def _cost(options: list[str]) -> Cost:
    begin = time.perf_counter()
    process = subprocess.Popen(_command(options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"snakemake {' '.join(options)} failed")
    return Cost(time.perf_counter() - begin, usage.ru_maxrss / 1024)


def _command(options: list[str]) -> list[str]:
    return [sys.executable, "-m", "snakemake", *options]


if __name__ == "__main__":
    for row in measure():
        print(row)
