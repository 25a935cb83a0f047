"""Trainings by two real processes against trainings by one."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from spine_models.errors import UserError
from spine_models.provenance.files import read_json
from spine_models.training.checkpoints import CHECKPOINT
from spine_models.training.job import run_job
from tests.training.conftest import (
    ONE,
    TWO,
    PoisonedTask,
    classification_task,
    make_job,
    run_in_child,
    segmentation_task,
)
from tests.training.rank_functions import wait_for

PLAIN = {"network": {"depth": 50, "base_channels": 4, "dropout": 0.0}}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted(folder.rglob("out/**/*.safetensors"))[-1])


def train(folder: Path, task: Any, compute: Any, **changes: Any) -> pd.DataFrame:
    run_job(make_job(folder, **changes), task, compute)
    return pd.read_csv(folder / "out" / "history.csv")


def assert_near(first: pd.DataFrame, second: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        assert first[column].to_numpy() == pytest.approx(second[column].to_numpy(), abs=1e-5), column


def test_two_processes_equal_one_with_accumulation(data, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    task = classification_task(data, freeze_bn=True, **PLAIN)
    alone = train(tmp_path / "one", task, ONE)
    together = train(tmp_path / "two", task, TWO)
    assert_near(alone, together, "loss", "competition_loss", "learning_rate")
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

    def child() -> None:
        os.setsid()
        checkpoint = lambda: list((tmp_path / "state").rglob(CHECKPOINT))  # noqa: E731
        stop = lambda: wait_for(checkpoint) and os.killpg(0, signal.SIGKILL)  # noqa: E731
        threading.Thread(target=stop).start()
        train(tmp_path, task, TWO, checkpoint_minutes=0.0)

    assert run_in_child(child) == -9
    alone = train(tmp_path / "whole", task, ONE)
    resumed = train(tmp_path, task, ONE, checkpoint_minutes=0.0)
    assert_near(alone, resumed, "loss", "competition_loss")
    resume = read_json(tmp_path / "out" / "training.run.json")["resumes"][0]
    assert (resume["was"], resume["processes"]) == (2, 1)
    assert "not bit for bit" in capfd.readouterr().err


def test_all_processes_stop_at_a_loss_that_is_not_finite_in_one(data, tmp_path):
    task = classification_task(data, freeze_bn=True, max_skipped_steps=1, **PLAIN)
    with pytest.raises(UserError, match=r"step 2 .*max_skipped_steps: 1.*studies in the batch: 1\.2\."):
        train(tmp_path, PoisonedTask(**vars(task), steps=(0, 1)), TWO)
