"""Real processes with gloo: what fails ends all of them, and nothing collides."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from spine_models.errors import UserError
from spine_models.training.ranks import run_ranks
from tests.training.conftest import ONE, TWO
from tests.training.rank_functions import add, alive, fail, hang_in_two, tell_devices, wait_for


def test_one_process_is_this_one(tmp_path):
    pids = []
    run_ranks(lambda place: pids.append((place.rank, os.getpid())), ONE)
    assert pids == [(0, os.getpid())]


@pytest.mark.parametrize("slurm", [False, True])
def test_two_processes_find_each_other_whatever_the_scheduler_says(tmp_path, monkeypatch, slurm):
    if slurm:
        for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "RANK": "5"}.items():
            monkeypatch.setenv(name, value)
    run_ranks(add, TWO, tmp_path)
    said = [(tmp_path / f"{rank}.txt").read_text().split() for rank in range(2)]
    assert [words[0] for words in said] == ["3.0", "3.0"]
    assert [words[2] for words in said] == ["1", "1"]
    assert len({said[0][1], said[1][1], str(os.getpid())}) == 3


def test_two_jobs_on_one_machine_do_not_collide(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=run_ranks, args=(add, TWO, folder)) for folder in folders]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0, 0]


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("user", UserError, "^the study 1.2.3 is damaged$"),
        ("defect", RuntimeError, "process 1 of the training failed:(.|\n)*ValueError: a defect of ours"),
        ("killed", UserError, "process 1 of the training was killed by SIGKILL, most likely because memory ran out"),
        ("silent", UserError, "process 1 of the training died, most likely because memory ran out or a file"),
    ],
)
def test_a_dying_process_ends_the_job_with_its_own_error(how, kind, words):
    with pytest.raises(kind, match=words):
        run_ranks(fail, TWO, how)
    assert not multiprocessing.active_children()


def test_no_process_outlives_a_killed_job(tmp_path):
    job = multiprocessing.get_context("fork").Process(target=hang_in_two, args=(tmp_path,))
    job.start()
    assert wait_for(lambda: len([p for p in tmp_path.glob("*.pid") if p.read_text()]) == 2)
    pids = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    os.kill(job.pid, signal.SIGKILL)
    job.join()
    assert wait_for(lambda: not any(alive(pid) for pid in pids))


def test_processes_on_the_cpu_see_no_device_of_the_machine(tmp_path, monkeypatch):
    # A second process would look for a second GPU.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    run_ranks(tell_devices, TWO, tmp_path)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["''", "''"]
