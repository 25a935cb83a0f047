"""Trainings under Snakemake that SIGKILL ends at named points; the same command then ends with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from benchmarks.chaos import command, lay_out, results
from tests.training.rank_functions import alive, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]
HOOK = Path(__file__).parent / "at_a_point"
TARGET = "chaos/classification/ip/fold0/model.safetensors"
SMALL = {"classification": {"training": {"epochs": 3}, "variants": {"ip": {"draws_per_study": 8}}}}
POINTS = {
    "before the first checkpoint": ("train_classifier", "/checkpoint.ckpt", 1),
    "while a checkpoint is being written": ("train_classifier", "/checkpoint.ckpt", 3),
    "between validation and its record": ("train_classifier", "/epoch-001.safetensors", 1),
    "during averaging": ("average_checkpoints", "/averaging.json", 1),
}


def at_a_point(folder: Path, script: str, name: str, count: int, wait: bool = False) -> dict[str, str]:
    files = {"mark": str(folder / "mark"), "wait": str(folder / "go") if wait else None}
    point = {"script": script, "name": name, "count": count, **files}
    return {"PYTHONPATH": str(HOOK), "AT_A_POINT": json.dumps(point)}


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    words = command(folder, *(arguments or ("--", TARGET)))
    env = {**os.environ, **variables}
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, env=env)


def finish(folder: Path, jobs: dict[str, str]) -> dict[str, bytes]:
    done = run(folder, **jobs)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return results(folder / "chaos")


@pytest.fixture(scope="module")
def calm(tmp_path_factory, jobs) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("calm")
    lay_out(folder, SMALL)
    found = finish(folder, jobs)
    assert TARGET.removeprefix("chaos/") in found
    return found


def test_a_training_killed_at_every_named_point(calm, jobs, tmp_path):
    lay_out(tmp_path, SMALL)
    for words, point in POINTS.items():
        killed = run(tmp_path, **jobs, **at_a_point(tmp_path, *point))
        assert killed.returncode != 0, words
        # The job came to the point, and did not end for another reason.
        (tmp_path / "mark").unlink()
    assert finish(tmp_path, jobs) == calm


def test_no_second_writer_beside_the_orphan_of_a_killed_snakemake(calm, jobs, tmp_path):
    lay_out(tmp_path, SMALL)
    point = ("train_classifier", "/checkpoint.ckpt", 3)
    # A process of its own, which loses the one that started it.
    first = subprocess.Popen(
        command(tmp_path, "--", TARGET),
        env={**os.environ, **at_a_point(tmp_path, *point, wait=True)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    mark = tmp_path / "mark"
    assert wait_for(lambda: mark.exists() and mark.read_text())
    first.send_signal(signal.SIGKILL)
    first.wait()
    orphan = int(mark.read_text())
    assert alive(orphan)

    refused = run(tmp_path, **jobs)
    assert refused.returncode != 0 and "Directory cannot be locked" in refused.stdout + refused.stderr
    assert run(tmp_path, "--unlock").returncode == 0
    beside = run(tmp_path, **jobs)
    assert beside.returncode != 0
    assert f"is being written by process {orphan} on " in (tmp_path / "chaos/logs/train_classifier/ip-0.log").read_text(
        encoding="utf-8"
    )
    assert alive(orphan)

    (tmp_path / "go").touch()
    assert wait_for(lambda: not alive(orphan))
    assert finish(tmp_path, jobs) == calm
