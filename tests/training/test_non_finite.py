from __future__ import annotations

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.tiny_training import PoisonedTask, classification_task, make_job, segmentation_task
from spine_models.errors import UserError
from spine_models.provenance.files import read_json
from spine_models.training.batching import plan_batches
from spine_models.training.job import run_job
from spine_models.training.non_finite import StepGuard
from tests.training.conftest import ONE, files_of

STEPS = 6


def train(data, folder, steps, **changes):
    task = PoisonedTask(**vars(classification_task(data, **changes)), steps=steps)
    run_job(make_job(folder, checkpoint_minutes=0.0), task, ONE)
    return load_file(sorted((folder / "out" / "epochs").glob("*.safetensors"))[-1])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_infinities_at_chosen_steps_are_skipped_and_counted(data, tmp_path, precision):
    weights = train(data, tmp_path, (1, 4), precision=precision)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert history["skipped_steps"].tolist() == [1, 2]
    assert history["loss"].notna().all()
    assert read_json(tmp_path / "out" / "training.run.json")["skipped_steps"] == 2


def test_one_more_stops_with_step_studies_and_checkpoint(data, tmp_path):
    with pytest.raises(UserError) as error:
        train(data, tmp_path, (1, 2, 4))
    sentence = str(error.value)
    assert "step 5 is not finite" in sentence
    assert "skipped steps: 3, classification.training.max_skipped_steps: 2" in sentence
    assert "studies in the batch: 1.2." in sentence
    assert "checkpoint.ckpt" in sentence
    # The last good state is still there, and holds finite weights.
    state = torch.load(next(tmp_path.rglob("checkpoint.ckpt")), weights_only=True)["state_dict"]
    assert all(bool(torch.isfinite(value).all()) for value in state.values())


def test_without_a_checkpoint_it_says_so(data, tmp_path):
    with pytest.raises(UserError, match="last good checkpoint: none was written yet"):
        train(data, tmp_path, (0,), max_skipped_steps=0)


def test_a_skipped_step_leaves_weights_moments_and_statistics_alone(data, tmp_path):
    """All steps skipped: the weights are those that the training started with."""
    task = classification_task(data, max_skipped_steps=STEPS)
    weights = train(data, tmp_path, tuple(range(STEPS)), max_skipped_steps=STEPS)
    torch.manual_seed(1)
    plan = plan_batches("classification", task.recipe.global_batch, task.recipe.micro_batch, 1)
    fresh = task.module(plan, STEPS).network.state_dict()
    for name, value in fresh.items():
        assert torch.equal(value, weights[name]), name


def test_the_skips_survive_a_resume(data, tmp_path, monkeypatch):
    from spine_models.training.stage_module import StageModule

    whole = train(data, tmp_path / "whole", (1, 4))
    original = StageModule.training_step

    def stop(module, batch, batch_idx):
        if module.trainer.current_epoch == 1 and batch_idx == 4:
            raise KeyboardInterrupt
        return original(module, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(StageModule, "training_step", stop)
        train(data, tmp_path / "cut", (1, 4))
    again = train(data, tmp_path / "cut", (1, 4))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert files_of(tmp_path / "cut" / "out") == files_of(tmp_path / "whole" / "out")


@pytest.mark.parametrize("make_task", [classification_task, segmentation_task])
def test_a_validation_that_is_not_finite_stops_with_the_study(data, make_task):
    task = make_task(data)
    module = task.module(plan_batches("classification", task.recipe.global_batch, 1, 1), STEPS).eval()
    module.good_checkpoint = "state/checkpoint.ckpt"
    next(iter(module.network.state_dict().values())).fill_(float("nan"))
    sentence = r"held-out study 1\.2\.\d is not finite; last good .* state/checkpoint.ckpt"
    module.on_validation_epoch_start()
    with torch.no_grad(), pytest.raises(UserError, match=sentence):
        module.validation_step(task.held_out()[0], 0)


def test_the_guard_puts_statistics_back_and_leaves_frozen_ones():
    network = nn.Sequential(nn.BatchNorm3d(2), nn.BatchNorm3d(2).eval())
    before = [buffer.clone() for buffer in network.buffers()]
    guard = StepGuard(network)
    guard.begin()
    network(torch.full((2, 2, 2, 2, 2), float("inf")))
    guard.undo()
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))
