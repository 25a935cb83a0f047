"""One run of the tiny preset through profiles/slurm in which everything goes wrong that a cluster can do to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from benchmarks.tiny import TINY
from tests.slurm.cluster import GPUS, Cluster, wait_until
from tests.workflow.runs import ROOT

OVERLAYS = [TINY, Path(__file__).parent / "four_folds.yaml"]
SEGMENTATIONS = [f"segmentation/fold{fold}" for fold in range(2)]
CLASSIFIERS = [f"classification/ir/fold{fold}" for fold in range(4)]
SCARCE_MEMORY = "generate_phantom"
"""The rule whose first attempt gets less memory than it needs: Snakemake's process in a job takes half of 200 MB, those
of the rule as much again."""
_PATIENCE = 1200.0


def site_profile(folder: Path) -> Path:
    """Write the profile as a site would change it: limits of this test's own, and a quicker look at the jobs."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    profile["set-resources"][SCARCE_MEMORY]["mem_mb"] = "200 if attempt == 1 else 16000"
    profile["set-resources"]["train_segmentation"]["runtime"] = "1 if attempt == 1 else 10"
    profile["slurm-init-seconds-before-status-checks"] = 7
    profile["latency-wait"] = 5
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    return folder


class Run:
    """A run of the workflow in the background."""

    def __init__(self, folder: Path, *options: object, environment: Mapping[str, str] = os.environ) -> None:
        """Start it in ``folder`` with further options of Snakemake."""
        self.folder, self.out = folder, folder / "tiny"
        self.log_file = folder / "snakemake.log"
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
        with self.log_file.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, "--configfile", *OVERLAYS, *options],
                cwd=ROOT,
                env=environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What Snakemake has said so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def slurm_jobs(self, training: str) -> list[str]:
        """Return Slurm's numbers of the jobs of a training, oldest first."""
        stage, *place = training.replace("classification/", "train_classifier/").split("/")
        rule = stage if stage == "train_classifier" else "train_segmentation"
        wildcards = "_".join(part.removeprefix("fold") for part in place)
        return re.findall(rf"SLURM jobid (\d+) \(log: \S*/rule_{rule}/{wildcards}/", self.log)

    def state_written(self, training: str) -> bool:
        """Say whether a training has a state to go on from."""
        return any((self.out / "state" / training).glob("*/checkpoint.ckpt"))

    def freeze(self, *trainings: str) -> None:
        """Stop trainings as soon as they have written a state, as a file system that hangs would."""
        running = set(trainings)

        def frozen() -> bool:
            self.check_alive()
            for training in [name for name in running if self.state_written(name)]:
                holder = (self.out / "state" / training / ".lock").read_text(encoding="utf-8")
                os.kill(int(holder.split()[1]), signal.SIGSTOP)
                running.remove(training)
            return not running

        wait_until(frozen, f"all of {', '.join(trainings)} have a state", _PATIENCE, 0.02)

    def check_alive(self) -> None:
        """Raise an error if Snakemake has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"Snakemake ended early:\n{self.log[-8000:]}")

    def finish(self) -> None:
        """Wait for the end, which must be a good one."""
        status = self.process.wait(_PATIENCE)
        assert status == 0, self.log[-8000:]


@contextlib.contextmanager
def local_run(folder: Path) -> Iterator[Run]:
    """Start a run on this machine that nothing disturbs."""
    with _ended(Run(folder, "--cores", "2", "--resources", f"gpu={GPUS}")) as run:
        yield run


@contextlib.contextmanager
def cluster_run(cluster: Cluster, folder: Path) -> Iterator[Run]:
    """Start a run on the cluster."""
    profile = site_profile(folder / "profile")
    with _ended(Run(folder, "--workflow-profile", profile, environment=cluster.environment)) as run:
        yield run


@contextlib.contextmanager
def _ended(run: Run) -> Iterator[Run]:
    try:
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()


def hang_and_cancel(run: Run, cluster: Cluster) -> str:
    """Let the first segmentation training hang until its time limit, cancel the second; return the cancelled job."""
    run.freeze(SEGMENTATIONS[0])
    wait_until(lambda: run.check_alive() or run.state_written(SEGMENTATIONS[1]), "a state to cancel", _PATIENCE, 0.02)
    cancelled = run.slurm_jobs(SEGMENTATIONS[1])[-1]
    cluster.command("scancel", cancelled)
    return cancelled


def crash(run: Run, cluster: Cluster) -> None:
    """Let the node die under all classifiers; it comes back when all of them wait for it."""
    run.freeze(*CLASSIFIERS)
    cluster.crash_node()
    wait_until(
        lambda: len(cluster.jobs("%A", "--states=PENDING")) == len(CLASSIFIERS), "all wait for a node", _PATIENCE
    )
    cluster.boot_node()
