"""A kill campaign: random SIGKILLs over the training rules, each followed by the same Snakemake command.

    python -m benchmarks.chaos --kills 20        (make kills)

It runs the training rules of a tiny preset once undisturbed and once under kills, and compares weights, tables and
metrics byte for byte. The data are those of the trainings' tests, laid where the data rules would put them. Three of
four kills hit the job; the fourth hits Snakemake itself, which leaves the job as an orphan: ``--unlock`` comes first,
and the state's lock keeps a second writer out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks import tiny_data
from benchmarks.tiny import PLAIN, tiny

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ("train_segmentation", "train_classifier", "average_checkpoints")
COMPARED = ("segmentation", "classification", "folds")
TARGETS = ("segmentation", "classification")
ALLOWED = (*TRAINING, "predict_oof", *TARGETS)
"""Rules of the workflow that the campaign runs: what they read is there already."""


CHANGES: dict[str, Any] = {
    "output_dir": "chaos",
    # A state at every step.
    "checkpoint_minutes": 1e-6,
    "keep_best": 3,
    "segmentation": {"training": {"epochs": 3, "draws_per_study": 12}},
    "classification": {
        "training": {"epochs": 4},
        "averaging": {"greedy": True},
        "variants": {
            "ir": {"draws_per_study": 16, "average": 3, "freeze_bn": False},
            "ip": {"draws_per_study": 16, "average": 2, "freeze_bn": True},
        },
    },
}
"""Longer trainings than the tiny ones, so that there is something to kill."""


def preset(*changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overlay of a campaign on ``config.yaml``, with further changes."""
    return tiny(PLAIN, tiny_data.OVERLAY, CHANGES, *changes)


def lay_out(folder: Path, *changes: Mapping[str, Any]) -> None:
    """Write into ``folder`` the preset with changes, and the data where the data rules would have put them."""
    output, dataset = folder / "chaos", folder / "data"
    tiny_data.write_segmentation_data(output)
    tiny_data.write_classification_data(output)
    (dataset / "segmentations").mkdir(parents=True)
    for study in tiny_data.STUDIES:  # what the plan looks for; no job reads it
        (dataset / "train_images" / study).mkdir(parents=True)
        (dataset / "segmentations" / f"{study}.nii").touch()
    (output / "train.csv").rename(dataset / "train.csv")
    (folder / "preset.yaml").write_text(yaml.safe_dump(preset(*changes)), encoding="utf-8")


def command(folder: Path, *arguments: str) -> list[str]:
    """Return the Snakemake command that trains in ``folder``."""
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    options = ["--cores", "2", "--rerun-incomplete", "--configfile", str(folder / "preset.yaml")]
    return [sys.executable, "-m", "snakemake", *where, *options, "--allowed-rules", *ALLOWED, *arguments]


class Campaign:
    """One campaign in a folder of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.refused = 0
        self.longest_wait = 0.0
        for place in ("calm", "stormy"):
            lay_out(folder / place)

    def finish(self, place: str, attempts: int = 1) -> None:
        """Run to the end; an orphan of a killed Snakemake may hold a state for a while."""
        for _ in range(attempts):
            done = subprocess.run(
                command(self.folder / place, "--", *TARGETS), capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return
            self.refused += "is being written by" in self._logs(place)
            time.sleep(2.0)
        sys.exit(f"{place} did not finish:\n{done.stderr[-4000:]}")

    def measure(self, place: str) -> None:
        """Let kills come at any moment of a job as long as those of a finished run, imports included."""
        tables = [path for rule in TRAINING for path in (self.folder / place / "chaos/benchmarks" / rule).glob("*.tsv")]
        self.longest_wait = max(float(path.read_text().splitlines()[1].split("\t", 1)[0]) for path in tables)

    def kill_once(self, place: str) -> bool:
        """Start the workflow and kill a training at a random moment; False where nothing was left to train."""
        log = (self.folder / "snakemake.log").open("ab")
        process = subprocess.Popen(
            command(self.folder / place, "--", *TARGETS), stdout=log, stderr=log, start_new_session=True
        )
        wait = self.random.uniform(0.0, self.longest_wait)
        while process.poll() is None:
            jobs = list(training_jobs(process.pid))
            if jobs:
                time.sleep(wait)
                victim = self.random.choice(list(training_jobs(process.pid)) or jobs)
                return self._strike(place, process, victim)
            time.sleep(0.05)
        return process.returncode != 0

    def _strike(self, place: str, process: subprocess.Popen[bytes], victim: psutil.Process) -> bool:
        rule = next((name for name in TRAINING if name in " ".join(_command_line(victim))), "")
        if not rule:
            process.wait()
            return True
        if self.random.random() < 0.25:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            self.kills["snakemake during " + rule] += 1
            subprocess.run(command(self.folder / place, "--unlock"), capture_output=True, check=False)
        else:
            victim.kill()
            self.kills[rule] += 1
            process.wait()
        return True

    def differences(self, first: str, second: str) -> list[str]:
        """Return the files that the two runs do not share byte for byte."""
        one, other = (results(self.folder / place / "chaos") for place in (first, second))
        return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))

    def _logs(self, place: str) -> str:
        logs = (self.folder / place / "chaos" / "logs").rglob("*.log")
        return "".join(path.read_text(errors="replace") for path in logs)


def training_jobs(pid: int) -> Iterator[psutil.Process]:
    """Yield the Python processes of training rules below ``pid``."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        words = _command_line(child)
        if any(f"workflow_scripts.{name}" in words for name in TRAINING):
            yield child


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def results(output: Path) -> dict[str, bytes]:
    """Return the files that equal runs share: weights, tables, metrics; not locks, and what tells of only one run."""
    found = [path for part in COMPARED for path in (output / part).rglob("*") if path.is_file()]
    kept = [path for path in found if not path.name.endswith((".run.json", ".lock", ".snakemake_timestamp"))]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="spine_models-chaos-"))
    campaign = Campaign(folder, args.seed)
    started = time.monotonic()
    campaign.finish("calm")
    campaign.measure("calm")
    while campaign.kills.total() < args.kills:
        if not campaign.kill_once("stormy"):
            # All is trained: train anew from the same data, so that every kill hits a training.
            for part in (*TARGETS, "state"):
                shutil.rmtree(folder / "stormy" / "chaos" / part, ignore_errors=True)
    campaign.finish("stormy", attempts=10)
    different = campaign.differences("calm", "stormy")
    figures = {
        "kills": dict(sorted(campaign.kills.items())),
        "total": campaign.kills.total(),
        "refused_second_writers": campaign.refused,
        "files_compared": len(results(folder / "calm" / "chaos")),
        "different": different,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "seed": args.seed,
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if different:
        sys.exit(f"{len(different)} files differ; the runs are kept in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
