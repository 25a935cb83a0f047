from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.tiny_training import classification_task, make_job
from spine_models.compute.devices import Compute
from spine_models.errors import UserError
from spine_models.provenance.keys import Key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.vouched import vouched
from spine_models.training.batching import plan_batches
from spine_models.training.job import key_config
from spine_models.training.state import KEPT_STATES, open_state, prune, prune_all
from tests.training.conftest import ONE, TWO

CONFIG = {"epochs": 2, "loss": {"gamma": 2.0}}


def opened(root: Path, age: int = 0, **changes):
    parts = {"inputs": {"a": "x"}, "config": CONFIG, "code": "1"} | changes
    state = open_state(root, Key("train", **parts))
    os.utime(state.folder / "key.json", (10_000 - age, 10_000 - age))
    return state


def finished(state):
    (state.folder / "checkpoint.ckpt").write_text("large")
    (state.result / "epochs").mkdir(parents=True)
    (state.result / "history.csv").write_text("epoch\n")
    (state.result / "epochs" / "epoch-000.safetensors").write_text("weights")
    state.finish({"resumes": []})
    return state


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": CONFIG | {"epochs": 3}}, "config.epochs: 2 before, 3 now"),
        ({"config": CONFIG | {"loss": {"gamma": 1.0}}}, "config.loss.gamma: 2.0 before, 1.0 now"),
        ({"code": "2"}, "code: 1 before, 2 now"),
        ({"inputs": {"a": "y"}}, "inputs.a: x before, y now"),
        ({"inputs": {"a": "x" * 99}}, "inputs.a changed"),
    ],
)
def test_a_change_starts_anew_and_says_why(tmp_path, capsys, changes, words):
    first = opened(tmp_path)
    second = opened(tmp_path, **changes)
    assert second.folder != first.folder
    assert f"starting anew, since the training differs from the one before ({words})" in capsys.readouterr().err
    assert opened(tmp_path).folder == first.folder
    assert capsys.readouterr().err == ""


def test_a_finished_result_keeps_what_is_published_alone(tmp_path):
    state = finished(opened(tmp_path / "state"))
    assert not (state.folder / "checkpoint.ckpt").exists()
    out = tmp_path / "out"
    (out / "epochs").mkdir(parents=True)
    (out / "epochs" / "epoch-009.safetensors").write_text("of an earlier result")
    (out / "model.safetensors").write_text("another rule's")
    (out / ".history.17.tmp.csv").write_text("what a killed process was writing")
    state.publish(out)
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    published = ["epochs/epoch-000.safetensors", "history.csv"]
    assert names == sorted([*published, *(f"{name}.record.json" for name in published), "model.safetensors"])
    assert all(vouched(out / name) for name in published)


def test_a_damaged_result_is_not_published(tmp_path):
    state = finished(opened(tmp_path))
    (state.result / "history.csv").write_text("other\n")
    assert state.finished() is None
    with pytest.raises(UserError, match="not finished"):
        state.publish(tmp_path / "out")


def test_old_states_are_bounded(tmp_path, capsys):
    states = [opened(tmp_path, age=10 - number, code=str(number)) for number in range(5)]
    there = [state.folder.exists() for state in states]
    assert there == [False] * (5 - KEPT_STATES) + [True] * KEPT_STATES
    assert "removing the old state" in capsys.readouterr().err


def test_prune_keeps_the_last_used_of_each_training(tmp_path):
    old, new = opened(tmp_path / "a", age=5), opened(tmp_path / "a", code="2")
    other = opened(tmp_path / "b" / "ir")
    assert prune_all(tmp_path) == [old.folder]
    assert new.folder.exists() and other.folder.exists()
    with folder_lock(tmp_path / "a"), pytest.raises(UserError, match="being written"):
        prune(tmp_path / "a")


def key(data, compute: Compute, **changes):
    task = classification_task(data, global_batch=4, **changes)
    plan = plan_batches("classification", 4, task.recipe.micro_batch, compute.processes)
    return key_config(make_job(Path("x")), task, plan, compute)


def test_how_the_batch_is_split_is_no_part_of_the_key_but_batch_norms_share_is(data):
    assert key(data, ONE, micro_batch=2) == key(data, TWO, micro_batch=1)
    assert key(data, ONE, micro_batch=2) != key(data, ONE, micro_batch=4)
    assert key(data, ONE, micro_batch=2, freeze_bn=True) == key(data, ONE, micro_batch=4, freeze_bn=True)


def test_activation_checkpointing_is_no_part_of_the_key(data):
    assert key(data, ONE) == key(data, ONE, activation_checkpointing=True)


@pytest.mark.parametrize("changes", [{"epochs": 3}, {"learning_rate": 1e-4}, {"precision": "fp32"}])
def test_what_changes_the_weights_is_part_of_the_key(data, changes):
    assert key(data, ONE) != key(data, ONE, **changes)


def test_threads_matter_on_the_cpu_alone(data):
    assert key(data, ONE) != key(data, Compute("cpu", 1, 2))
    assert key(data, Compute("cuda", 1, 1)) == key(data, Compute("cuda", 1, 2))
