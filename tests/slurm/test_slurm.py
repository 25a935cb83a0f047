"""The workflow on a real Slurm, disturbed in every way, against a local run that nothing disturbs."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.campaign import (
    CLASSIFIERS,
    SCARCE_MEMORY,
    SEGMENTATIONS,
    Run,
    cluster_run,
    crash,
    hang_and_cancel,
    local_run,
    site_profile,
)
from tests.slurm.cluster import running_cluster

VOLATILE_FOLDERS = ("logs", "benchmarks", "state")
# The tables of both index/ folders, the records beside them and the records of sources depend on the times of the data
# set's files, of which each run generates its own.
VOLATILE_FILES = re.compile(
    r"\.run\.json$|\.source\.json$|(^|/)\.lock$|^index/\d+\.csv$|^index/.*\.record\.json$|"
    r"^predictions/index/(files\.csv$|.*\.record\.json$)"
)
RUN_TIME = re.compile(rb'(?s)<section id="run-time".*?</section>')
"""The part of the report that says when and how long."""
LEASE = """
import os
from spine_models.compute.leases import lease_devices

print("given", os.environ["CUDA_VISIBLE_DEVICES"])
print("leased", ",".join(lease_devices(2).devices))
"""
TWO_GPUS = """
rule train_classifier:
    output: "seen.txt"
    resources: nodes=1, gpu=2
    shell: "echo $CUDA_VISIBLE_DEVICES >> {output}"
"""


@pytest.fixture(scope="module")
def cluster():
    with running_cluster() as cluster:
        yield cluster


@dataclass(frozen=True)
class Runs:
    """The finished run on the cluster, the job of it that was cancelled, and the finished local run."""

    cluster: Run
    cancelled: str
    local: Run


@pytest.fixture(scope="module")
def runs(cluster, tmp_path_factory):
    with cluster_run(cluster, tmp_path_factory.mktemp("cluster")) as disturbed:
        cancelled = hang_and_cancel(disturbed, cluster)
        # While the one waits for its time limit, there is time for the other.
        with local_run(tmp_path_factory.mktemp("local")) as undisturbed:
            crash(disturbed, cluster)
            disturbed.finish()
            undisturbed.finish()
    return Runs(disturbed, cancelled, undisturbed)


def artefacts(folder: Path) -> dict[str, str]:
    """Return the digest of every file that is a result."""
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(RUN_TIME.sub(b"", path.read_bytes())).hexdigest()
        for name, path in names.items()
        if name.split("/", maxsplit=1)[0] not in VOLATILE_FOLDERS and not VOLATILE_FILES.search(name)
    }


def facts(run: Run, training: str) -> dict:
    return json.loads((run.out / training / "training.run.json").read_text())


def failure(run: Run, job: str) -> str:
    """Return what Snakemake printed when a job of Slurm failed, logs included."""
    found = re.search(rf"(?s)SLURM-job '{job}' failed.*?Trying to restart job", run.log)
    assert found, run.log[-8000:]
    return found[0]


def test_the_results_equal_those_of_the_local_run(runs):
    ours, expected = artefacts(runs.cluster.out), artefacts(runs.local.out)
    assert {"report/index.html", "bundle/bundle.json", "predictions/submission.csv"} <= expected.keys()
    assert ours == expected


def test_four_folds_computed_on_four_devices(runs):
    run = runs.cluster
    assert sorted(facts(run, training)["visible_devices"] for training in CLASSIFIERS) == ["0", "1", "2", "3"]


def test_a_cancelled_training_is_submitted_again_and_goes_on(runs):
    run = runs.cluster
    assert "CANCELLED" in failure(run, runs.cancelled)
    jobs = run.slurm_jobs(SEGMENTATIONS[1])
    assert jobs.index(runs.cancelled) < len(jobs) - 1
    assert facts(run, SEGMENTATIONS[1])["scheduler_job"] == jobs[-1]
    assert facts(run, SEGMENTATIONS[1])["resumes"]


def test_a_training_over_its_time_limit_is_reported_with_its_log_and_goes_on(runs):
    run = runs.cluster
    slow, *again = run.slurm_jobs(SEGMENTATIONS[0])
    message = failure(run, slow)
    assert "TIMEOUT" in message
    assert "DUE TO TIME LIMIT" in message
    assert len(again) == 1
    assert len(facts(run, SEGMENTATIONS[0])["resumes"]) == 1


def test_a_job_over_its_memory_is_reported_with_its_log_and_gets_more(runs):
    run = runs.cluster
    first, *again = re.findall(rf"SLURM jobid (\d+) \(log: \S*/rule_{SCARCE_MEMORY}/", run.log)
    assert "exceeded memory limit" in failure(run, first)
    assert len(again) == 1


def test_trainings_survive_the_loss_of_their_node(runs):
    run = runs.cluster
    for training in CLASSIFIERS:
        lost, *again = run.slurm_jobs(training)
        assert "due to a node failure" in failure(run, lost)
        assert len(again) == 1
        assert len(facts(run, training)["resumes"]) == 1


def test_shards_are_submitted_as_arrays(runs):
    # Those of index_studies for certain; others where their predecessors are seen to end at the same look at the queue.
    assert re.search(r"Submitted array job with Snakemake IDs \d+,\d+ ", runs.cluster.log)


def test_a_job_takes_the_devices_that_slurm_gives_and_its_processes_find_each_other(cluster):
    find = "tests/training/test_ranks.py::test_two_processes_find_each_other_whatever_the_scheduler_says[False]"
    commands = [["-c", LEASE], ["-m", "pytest", "-q", find]]
    steps = [cluster.step(2, sys.executable, *words) for words in commands]
    leases, ranks = [step.communicate(timeout=300)[0] for step in steps]
    given, leased = re.findall(r"^(?:given|leased) (.*)$", leases, re.MULTILINE)
    assert len(set(given.split(","))) == 2
    assert leased == given
    assert "1 passed" in ranks


def test_a_job_of_two_gpus_is_one_task_that_sees_both(cluster, tmp_path):
    """A rule with the resources of a training over two GPUs, submitted by the plugin."""
    (tmp_path / "Snakefile").write_text(TWO_GPUS, encoding="utf-8")
    profile = site_profile(tmp_path / "profile")
    command = [sys.executable, "-m", "snakemake", "--directory", tmp_path, "--snakefile", tmp_path / "Snakefile"]
    process = subprocess.run(
        [*command, "--workflow-profile", profile], cwd=tmp_path, env=cluster.environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    (devices,) = (tmp_path / "seen.txt").read_text().splitlines()
    assert len(set(devices.split(","))) == 2
