"""What a training step of the two stages does, and what it leaves."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.tiny_training import classification_task, make_job, segmentation_task
from spine_models.compute import inference_network
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.evaluation.competition import competition_loss, prior_probabilities
from spine_models.levels import LEVELS
from spine_models.models.batch_norm import batch_norms
from spine_models.models.weights import load_model
from spine_models.provenance.files import read_json
from spine_models.training.batching import plan_batches
from spine_models.training.fit import precision_plugin
from spine_models.training.history import table
from spine_models.training.job import run_job
from spine_models.training.segmentation_module import ActivationMaxima
from spine_models.training.stage_module import merge_sums
from tests import tiny
from tests.training.conftest import ONE, files_of


@pytest.fixture(scope="module")
def segmented(data, tmp_path_factory):
    ONE.apply()
    folder = tmp_path_factory.mktemp("segmented")
    run_job(make_job(folder, keep_best=1), segmentation_task(data), ONE)
    return folder / "out"


def test_the_segmentation_publishes_its_best_epoch(segmented):
    metrics = read_json(segmented / "metrics.json")
    history = pd.read_csv(segmented / "history.csv")
    assert metrics["dice_mean"] == pytest.approx(history["dice_mean"].max())
    assert metrics["epoch"] == history["dice_mean"].idxmax()
    assert metrics["n_studies"] == 3 and set(metrics["dice_per_class"]) == set(LEVELS)
    network, provenance = load_model(segmented / "model.safetensors", "segmentation")
    assert type(network).__name__ == "CsnUNet"
    assert provenance["epoch"] == metrics["epoch"] and provenance["code"] == "code"
    assert {"inputs", "config", "packages", "key"} <= provenance.keys()


@pytest.mark.parametrize(("precision", "stored"), [("auto", "fp32"), ("bf16", "bf16")])
def test_weights_say_in_which_precision_they_were_trained(data, tmp_path, precision, stored):
    """What ``auto`` chose on this device, the same in every epoch's file and in the record of the run."""
    run_job(make_job(tmp_path), classification_task(data, precision=precision), ONE)
    files = sorted((tmp_path / "out" / "epochs").glob("*.safetensors"))
    assert [load_model(path, "classification")[1]["precision"] for path in files] == [stored] * 2
    assert read_json(tmp_path / "out" / "training.run.json")["precision"] == stored


@pytest.mark.parametrize(("computes_bf16", "chosen"), [(True, "bf16"), (False, "fp16")])
def test_training_and_prediction_choose_one_precision_on_a_gpu(monkeypatch, computes_bf16, chosen):
    """A GPU before Ampere emulates bf16, which counts for neither."""
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: computes_bf16 or including_emulation
    )
    monkeypatch.setattr(inference_network, "arrange", lambda what, _device: what)
    assert precision_plugin("auto", "cuda").precision == {"bf16": "bf16-mixed", "fp16": "16-mixed"}[chosen]
    assert InferenceNetwork(tiny.classifier("ir"), torch.device("cuda")).precision == chosen


def test_the_history_has_what_a_person_looks_for(segmented):
    history = pd.read_csv(segmented / "history.csv")
    columns = {"learning_rate", "loss", "focal", "jaccard", "dice_mean", "activation_max", "gradient_norm"}
    assert columns <= set(history.columns)
    assert history["step"].tolist() == [3, 6]
    assert history["learning_rate"].iloc[-1] == pytest.approx(1e-5)
    runs = read_json(segmented / "history.run.json")
    assert {"images_per_second", "data_wait_share", "memory_bytes"} <= runs[0].keys()


def test_a_log_gets_a_line_an_epoch_and_tensorboard_its_file(data, tmp_path, capfd):
    run_job(make_job(tmp_path), classification_task(data), ONE)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("classification: epoch")]
    assert len(lines) == 2 and "competition_loss" in lines[1] and "images/s" in lines[1]
    board = EventAccumulator(str(next((tmp_path / "state").rglob("tensorboard")))).Reload()
    shown = {"learning_rate", "loss", "gradient_norm", "competition_loss", "skipped_steps"}
    shown |= {"images_per_second", "data_wait_share", "memory_bytes"}
    assert shown <= set(board.Tags()["scalars"])
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    for name in ("learning_rate", "loss", "competition_loss"):
        points = board.Scalars(name)
        assert [point.step for point in points] == history["step"].tolist()
        assert [point.value for point in points] == pytest.approx(history[name].tolist())


IN_A_TERMINAL = """
import sys
from pathlib import Path
from spine_models.training.job import run_job
from benchmarks.tiny_training import classification_task, make_job
from tests.training.conftest import ONE
run_job(make_job(Path(sys.argv[2])), classification_task(Path(sys.argv[1]), epochs=1), ONE)
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_a_bar_and_a_log_none(data, tmp_path, terminal):
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        termios.tcsetwinsize(ours, (40, 120))
    command = [sys.executable, "-c", IN_A_TERMINAL, data, tmp_path]
    process = subprocess.Popen(command, stderr=theirs, stdout=theirs, cwd=Path(__file__).parents[2])
    os.close(theirs)
    said = b""
    # A terminal whose other side is closed answers with an error, a pipe with nothing.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert process.wait() == 0
    assert (b"it/s" in said and b"\r" in said) == terminal
    assert b"classification: epoch 1/1" in said


def test_equal_runs_give_equal_bytes_and_another_seed_others(data, tmp_path):
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_job(make_job(tmp_path / name, seed=seed), classification_task(data), ONE)
        results.append(files_of(tmp_path / name / "out"))
    assert results[0] == results[1] != results[2]


def test_workers_change_nothing(data, tmp_path):
    for name, workers in (("a", 0), ("b", 2)):
        run_job(make_job(tmp_path / name, workers=workers), classification_task(data), ONE)
    assert files_of(tmp_path / "a" / "out") == files_of(tmp_path / "b" / "out")


@pytest.mark.parametrize(("frozen", "checkpointing"), [(True, False), (True, True), (False, False)])
def test_frozen_batch_norm_is_what_it_was_and_trained_is_not(data, tmp_path, frozen, checkpointing):
    task = classification_task(data, freeze_bn=frozen, activation_checkpointing=checkpointing)
    run_job(make_job(tmp_path), task, ONE)
    trained, _ = load_model(tmp_path / "out" / "epochs" / "epoch-001.safetensors", "classification")
    torch.manual_seed(1)
    fresh = task.module(plan_batches("classification", 4, 2, 1), 6).network
    pairs = list(zip(batch_norms(fresh), batch_norms(trained), strict=True))
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        same = [torch.equal(getattr(first, name), getattr(second, name)) for first, second in pairs]
        # Of a tiny network some units are dead, so that their affine parameters stay.
        assert all(same) == frozen, name
    assert not torch.equal(fresh.head.weight, trained.head.weight)


def test_activation_checkpointing_gives_the_same_bytes_but_for_the_settings(data, tmp_path):
    for name, checkpointing in (("a", False), ("b", True)):
        run_job(make_job(tmp_path / name), segmentation_task(data, activation_checkpointing=checkpointing), ONE)
    assert files_of(tmp_path / "a" / "out") == files_of(tmp_path / "b" / "out")


def test_momentum_is_adjusted_to_the_accumulation(data):
    network = segmentation_task(data).module(plan_batches("segmentation", 2, 1, 1), 6).network
    momenta = {norm.momentum for norm in batch_norms(network)}
    assert list(momenta) == [pytest.approx(1 - 0.9**0.5)]


@pytest.mark.parametrize(("before", "after"), [(4.9, 4.9), (9.9, 5.0), (500.0, 5.0)])
def test_the_gradients_norm_is_clipped_at_the_recipes(data, before, after):
    module = classification_task(data).module(plan_batches("classification", 4, 2, 1), 6)
    assert module.recipe.gradient_clip == 5.0
    module._trainer = SimpleNamespace(precision_plugin=None)
    trained = [parameter for parameter in module.network.parameters() if parameter.requires_grad]
    values = sum(parameter.numel() for parameter in trained)
    for parameter in trained:
        parameter.grad = torch.full_like(parameter, before / values**0.5)
    module.configure_gradient_clipping(None)
    norm = sum(float(parameter.grad.double().square().sum()) for parameter in trained) ** 0.5
    assert norm == pytest.approx(after, rel=1e-4)
    assert module.take_means()["gradient_norm"] == pytest.approx(before, rel=1e-4)


def test_a_study_without_crops_is_predicted_by_the_prior_of_the_training(data):
    # Fold 1 holds out the study without a vertebra.
    task = classification_task(data)
    task = type(task)(task.inputs, 1, task.recipe, task.crops)
    module = task.module(plan_batches("classification", 4, 2, 1), 6)
    network = InferenceNetwork(module.network.eval(), ONE.device)
    found = {item.study: module.assess(item, network) for item in map(task.held_out().__getitem__, range(3))}
    labels = task.data
    expected = prior_probabilities([labels.labels[study] for study in labels.split.training])
    assert found["1.2.5"]["probabilities"] == pytest.approx(expected.tolist())
    probabilities = [found[study]["probabilities"] for study in sorted(found)]
    targets = [labels.labels[study] for study in sorted(found)]
    assert module.judge(found).competition_loss == pytest.approx(competition_loss(probabilities, targets))


def test_activation_maxima_see_an_overflow():
    layer = torch.nn.Conv3d(1, 1, 1)
    maxima = ActivationMaxima([layer])
    with maxima:
        layer(torch.full((1, 1, 1, 1, 1), 7e4))
    expected = (layer.weight * 7e4 + layer.bias.view(1, 1, 1, 1, 1)).abs().max()
    assert maxima.largest() == pytest.approx(float(expected))
    with maxima:
        layer(torch.full((1, 1, 1, 1, 1), float("inf")))
    assert not torch.isfinite(maxima.largest())
    assert not layer._forward_hooks


def test_sums_of_processes_add_up_and_largest_stays_the_largest():
    parts = [{"loss": 1.0, "loss/count": 1.0, "a/largest": 3.0}, {"loss": 2.0, "loss/count": 2.0, "a/largest": 2.0}]
    assert merge_sums(parts) == {"loss": 3.0, "loss/count": 3.0, "a/largest": 3.0}


def test_a_table_with_a_column_that_comes_later():
    assert table([{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5, "extra": 2.0}]) == (
        "epoch,loss,extra\n0,1.0,\n1,0.5,2.0\n"
    )


@pytest.mark.parametrize(("changes", "warned"), [({}, True), ({"freeze_bn": True}, False), ({"micro_batch": 4}, False)])
def test_batch_norm_over_few_samples_is_warned_about(data, tmp_path, capfd, changes, warned):
    run_job(make_job(tmp_path), classification_task(data, epochs=1, **changes), ONE)
    assert ("batch norm takes its statistics over 2 samples" in capfd.readouterr().err) == warned
