"""Trainings by two real processes against trainings by one."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.tiny_training import PoisonedTask, classification_task, die, make_job, segmentation_task
from spine_models.errors import UserError
from spine_models.provenance.files import read_json
from spine_models.provenance.locks import folder_lock
from spine_models.training.fit import FitSettings
from spine_models.training.job import run_job
from spine_models.training.ranks import run_ranks
from spine_models.training.state_file import CHECKPOINT
from tests.training.conftest import ONE, TWO, files_of, run_in_child
from tests.training.rank_functions import alive, wait_for, watched_fit

PLAIN = {"network": {"kind": "csn", "mode": "ip", "depth": 50, "base_channels": 4, "dropout": 0.0}}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted(folder.rglob("out/**/*.safetensors"))[-1])


def train(folder: Path, task: Any, compute: Any, **changes: Any) -> pd.DataFrame:
    run_job(make_job(folder, **changes), task, compute)
    return pd.read_csv(folder / "out" / "history.csv")


def assert_near(first: pd.DataFrame, second: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        assert first[column].to_numpy() == pytest.approx(second[column].to_numpy(), abs=1e-5), column


def kill_at_the_first_checkpoint(folder: Path, train: Callable[[], object]) -> None:
    """Run ``train`` and kill its process, and so those below it, when the first state is written to ``folder``."""

    def child() -> None:
        stop = lambda: wait_for(lambda: list(folder.rglob(CHECKPOINT))) and die()  # noqa: E731
        threading.Thread(target=stop).start()
        train()

    assert run_in_child(child) == -9


@pytest.mark.parametrize(
    ("make_task", "metric"),
    [(partial(classification_task, **PLAIN), "competition_loss"), (segmentation_task, "dice_mean")],
    ids=["classification", "segmentation"],
)
def test_two_processes_equal_one_with_accumulation(data, tmp_path, monkeypatch, make_task, metric):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    task = make_task(data, freeze_bn=True)
    alone = train(tmp_path / "one", task, ONE)
    together = train(tmp_path / "two", task, TWO)
    assert_near(alone, together, "loss", metric, "learning_rate")
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((first[name] - second[name]).abs().max() for name in first) < 1e-5
    assert read_json(tmp_path / "two" / "out" / "training.run.json")["processes"] == 2


def test_synchronised_batch_norm_equals_one_process_with_the_larger_micro_batch(data, tmp_path):
    # One step: the tiny network's batch norm sees so few voxels that later steps magnify the last bits.
    whole = {"global_batch": 6, "epochs": 1}
    alone = train(tmp_path / "one", segmentation_task(data, micro_batch=6, **whole), ONE)
    together = train(tmp_path / "two", segmentation_task(data, micro_batch=3, **whole), TWO)
    assert_near(alone, together, "loss", "focal", "jaccard")
    assert alone["gradient_norm"][0] == pytest.approx(together["gradient_norm"][0], rel=1e-3)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    statistics = [name for name in first if "running_" in name]
    assert statistics
    for name in statistics:
        # The CPU's convolutions add in another order for another batch size, and the steps amplify that.
        torch.testing.assert_close(first[name], second[name], rtol=5e-4, atol=5e-4)
    # Three held-out studies for two processes: a padded duplicate would be counted twice.
    metrics = read_json(tmp_path / "two" / "out" / "metrics.json")
    assert metrics["n_studies"] == 3 == len(metrics["per_study"])


def test_the_job_goes_on_with_another_number_of_processes_and_says_so(data, tmp_path, capfd):
    task = classification_task(data, freeze_bn=True, epochs=12, **PLAIN)

    kill_at_the_first_checkpoint(tmp_path, lambda: train(tmp_path, task, TWO, checkpoint_minutes=0.0))
    alone = train(tmp_path / "whole", task, ONE)
    resumed = train(tmp_path, task, ONE, checkpoint_minutes=0.0)
    assert_near(alone, resumed, "loss", "competition_loss")
    resume = read_json(tmp_path / "out" / "training.run.json")["resumes"][0]
    assert (resume["was"], resume["processes"]) == (2, 1)
    assert "not bit for bit" in capfd.readouterr().err


def test_two_processes_resume_bit_for_bit_with_the_dropout_of_each(data, tmp_path):
    task = classification_task(data, freeze_bn=True)
    whole = train(tmp_path / "whole", task, TWO)
    killed = tmp_path / "killed"
    kill_at_the_first_checkpoint(killed, lambda: train(killed, task, TWO, checkpoint_minutes=0.0))
    assert not (killed / "out").exists()
    assert train(killed, task, TWO).equals(whole)
    assert files_of(killed / "out") == files_of(tmp_path / "whole" / "out")
    assert read_json(killed / "out" / "training.run.json")["resumes"][0]["was"] == 2


def test_rank_0_alone_writes(data, tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    settings = FitSettings(seed=1, workers=0, checkpoint_minutes=0.0, keep_best=1, provenance={})
    run_ranks(
        watched_fit, TWO, classification_task(data, freeze_bn=True, epochs=1, **PLAIN), settings, folder, tmp_path
    )
    first, second = ((tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2))
    assert second == []
    for name in ("checkpoint", "epoch-", "history.csv", "tensorboard", "outcome.json"):
        assert any(name in line for line in first), name


@pytest.mark.parametrize("compute", [ONE, TWO], ids=["one process", "two processes"])
def test_nothing_outlives_a_killed_training(data, tmp_path, compute):
    """Neither ranks nor the processes that load samples, which hold the state's lock and the leases open."""
    task = classification_task(data, epochs=30)

    def child() -> None:
        train(tmp_path, task, compute, checkpoint_minutes=0.0, workers=2)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert wait_for(lambda: list((tmp_path / "state").rglob(CHECKPOINT)))
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2 * compute.processes
    process.kill()
    process.join()
    assert wait_for(lambda: not any(alive(one.pid) for one in family), 10.0)
    # An epoch that began since has processes of its own.
    assert wait_for(lambda: is_free(tmp_path / "state"), 10.0)
    assert list((tmp_path / "state").rglob(CHECKPOINT))


def is_free(folder: Path) -> bool:
    try:
        with folder_lock(folder):
            return True
    except UserError:
        return False


def test_all_processes_stop_at_a_loss_that_is_not_finite_in_one(data, tmp_path):
    task = classification_task(data, freeze_bn=True, max_skipped_steps=1, **PLAIN)
    with pytest.raises(UserError, match=r"step 2 .*max_skipped_steps: 1.*studies in the batch: 1\.2\."):
        train(tmp_path, PoisonedTask(**vars(task), steps=(0, 1)), TWO)
