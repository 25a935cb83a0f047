from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import tiny_data
from benchmarks.tiny_training import classification_task, die_when, make_job
from spine_models.data.crops.crop import CropSettings
from spine_models.errors import UserError
from spine_models.evaluation.averages import Averaging
from spine_models.evaluation.epochs import Epoch
from spine_models.models.weights import load_model, load_state
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.published_facts import read_facts
from spine_models.training import average_checkpoints as averaging
from spine_models.training.average_checkpoints import (
    AveragingInputs,
    AveragingSettings,
    average_checkpoints,
    greedy_choice,
)
from spine_models.training.job import run_job
from tests.gpu_troubles import out_of_memory
from tests.training.conftest import ONE, files_of, run_in_child

CROPS = CropSettings(**tiny_data.configuration()["crops"])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    ONE.apply()
    folder = tmp_path_factory.mktemp("trained")
    task = classification_task(data, epochs=3)
    run_job(make_job(folder, keep_best=3), task, ONE)
    return AveragingInputs(folder / "out" / "epochs", task.inputs.folds, task.inputs.train_csv, task.inputs.crops)


def average(trained, out, count=2, greedy=False):
    return average_checkpoints(trained, 0, AveragingSettings(count, greedy, CROPS), ONE, code="c", out=out)


def test_the_published_weights_are_the_mean_of_the_best(trained, tmp_path):
    report = average(trained, tmp_path)
    states = [load_state(trained.epochs / epoch.file)[0] for epoch in report.epochs]
    found, description = load_state(tmp_path / "model.safetensors")
    for name, value in found.items():
        if value.is_floating_point():
            expected = np.mean([state[name].double().numpy() for state in states], axis=0)
            assert value.numpy() == pytest.approx(expected, rel=1e-6, abs=1e-12), name
        else:
            assert torch.equal(value, states[0][name]), name
    assert any("running_var" in name for name in found)
    assert [entry["epoch"] for entry in description["provenance"]["averaged"]] == [e.epoch for e in report.epochs]
    load_model(tmp_path / "model.safetensors", "classification")


def test_the_table_compares_the_best_single_epoch_with_the_average(trained, tmp_path):
    report = average(trained, tmp_path)
    # The same studies, crops and network as in the training's validation.
    assert report.best_single == pytest.approx(report.epochs[0].metric, abs=1e-6)
    metrics = [epoch.metric for epoch in report.epochs]
    assert metrics == sorted(metrics) and len(metrics) == 2
    assert report.published == "averaged" and report.greedy is None
    assert all(len(epoch.sha256) == 64 for epoch in report.epochs)
    assert read_facts(tmp_path / "averaging.json", Averaging) == report


def test_the_average_of_one_is_that_epoch(trained, tmp_path):
    report = average(trained, tmp_path, count=1)
    assert report.averaged == report.best_single


def test_the_greedy_choice_is_never_worse_than_the_best(trained, tmp_path):
    report = average(trained, tmp_path, greedy=True)
    assert report.greedy.loss <= report.best_single
    assert report.published == "greedy"
    assert read_facts(tmp_path / "averaging.json", Averaging) == report
    averaged = load_state(tmp_path / "model.safetensors")[1]["provenance"]["averaged"]
    assert [one["epoch"] for one in averaged] == [one.epoch for one in report.greedy.epochs]


def test_twice_gives_the_same_bytes(trained, tmp_path):
    average(trained, tmp_path / "a")
    average(trained, tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(die_when(averaging, "competition_loss", 2), id="while the average is judged"),
        pytest.param(die_when(averaging, "save_state", 1), id="before the weights"),
        pytest.param(die_when(averaging, "write_json", 1), id="between the weights and the table"),
    ],
)
def test_killed_during_averaging(trained, tmp_path, point):
    def child():
        point()
        average(trained, tmp_path / "killed", greedy=True)

    assert run_in_child(child) == -9
    average(trained, tmp_path / "killed", greedy=True)
    average(trained, tmp_path / "whole", greedy=True)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_a_second_writer_is_refused(trained, tmp_path):
    with folder_lock(tmp_path), pytest.raises(UserError, match="is being written by process"):
        average(trained, tmp_path)


def test_more_than_are_kept_is_refused(trained, tmp_path):
    with pytest.raises(UserError, match="keeps 3 epochs and 5 are to be averaged"):
        average(trained, tmp_path, count=5)


def test_a_checkpoint_joins_only_when_it_helps():
    one = Epoch(0, 0.0, "", "")
    epochs = [replace(one, epoch=number) for number in range(4)]
    losses = {(0,): 0.5, (0, 1): 0.6, (0, 2): 0.4, (0, 2, 3): 0.4}
    chosen, loss = greedy_choice(epochs, lambda some: losses[tuple(epoch.epoch for epoch in some)])
    assert [epoch.epoch for epoch in chosen] == [0, 2] and loss == 0.4


def test_the_same_average_is_judged_once(trained, tmp_path, capsys):
    average(trained, tmp_path)
    assert "average_checkpoints: 2 of 2 judgements made, 0 reused" in capsys.readouterr().err
    published = files_of(tmp_path)
    assert average(trained, tmp_path).averaged
    assert "average_checkpoints: 0 of 2 judgements made, 2 reused" in capsys.readouterr().err
    assert files_of(tmp_path) == published
    average(trained, tmp_path, count=3)
    assert "average_checkpoints: 1 of 2 judgements made, 1 reused" in capsys.readouterr().err


def test_memory_that_runs_out_is_a_sentence(trained, tmp_path, monkeypatch):
    out_of_memory(monkeypatch, "logits")
    with pytest.raises(UserError, match=r"^out of GPU memory: set device: cpu"):
        average(trained, tmp_path)
