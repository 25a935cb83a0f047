"""Killed with SIGKILL at chosen points, a rerun ends with the bytes of an undisturbed run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.tiny_training import classification_task, die, die_when, make_job, segmentation_task
from spine_models.errors import UserError
from spine_models.provenance.files import read_json
from spine_models.training import job, state_file
from spine_models.training.best_epochs import BestEpochs
from spine_models.training.classification_module import ClassificationModule
from spine_models.training.job import run_job
from spine_models.training.stage_module import StageModule
from spine_models.training.state import State
from spine_models.training.state_file import CHECKPOINT, StateKeeper
from tests.training.conftest import ONE, files_of, run_in_child

STEPS = 6
"""Of the tiny classification: three in each of two epochs."""
KILLED = -9


def run(data: Path, folder: Path, minutes: float = 0.0, **changes: Any) -> dict[str, bytes]:
    run_job(make_job(folder, checkpoint_minutes=minutes), classification_task(data, **changes), ONE)
    return files_of(folder / "out")


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    ONE.apply()
    return run(data, tmp_path_factory.mktemp("undisturbed"), minutes=15.0)


def killed_run(data: Path, folder: Path, prepare: Callable[[], None], minutes: float = 0.0) -> None:
    """Train in a process that ``prepare`` lets kill itself."""

    def child() -> None:
        prepare()
        run(data, folder, minutes)

    assert run_in_child(child) == KILLED


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_killed_in_any_step(data, tmp_path, undisturbed, step):
    # Each step has two micro-batches: the second leaves gradients that no state holds.
    killed_run(data, tmp_path, die_when(StageModule, "training_step", 2 * step))
    assert run(data, tmp_path) == undisturbed
    resumes = read_json(tmp_path / "out" / "training.run.json")["resumes"]
    expected = [] if step == 1 else [{"epoch": (step - 1) // 3, "step": (step - 1) % 3, "processes": 1, "was": 1}]
    assert resumes == expected


@pytest.mark.parametrize("study", [1, 2, 3, 4, 6])
def test_killed_in_a_validation(data, tmp_path, undisturbed, study, monkeypatch):
    # Three held-out studies an epoch: those that were assessed before are not assessed again.
    killed_run(data, tmp_path, die_when(ClassificationModule, "assess", study))
    assessed, original = [], ClassificationModule.assess
    monkeypatch.setattr(ClassificationModule, "assess", lambda *it: (assessed.append(it), original(*it))[1])
    assert run(data, tmp_path) == undisturbed
    assert len(assessed) == 6 - (study - 1)
    resumes = read_json(tmp_path / "out" / "training.run.json")["resumes"]
    assert resumes == [{"epoch": (study - 1) // 3, "step": 3, "processes": 1, "was": 1}]


def test_killed_in_a_validation_and_again_behind_it(data, tmp_path, undisturbed):
    killed_run(data, tmp_path, die_when(ClassificationModule, "assess", 2))
    # The state behind the validation holds the random state of the steps before it, not that of a fresh process.
    killed_run(data, tmp_path, die_when(StageModule, "training_step", 1))
    assert run(data, tmp_path) == undisturbed


def _die_while_writing() -> None:
    count, original = [0], torch.save

    def save(content: Any, path: Path) -> None:
        count[0] += 1
        original(content, path)
        if count[0] == 3:
            with path.open("r+b") as stream:
                stream.truncate(path.stat().st_size // 2)
            die()

    state_file.torch.save = save


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(_die_while_writing, id="while a checkpoint is being written"),
        pytest.param(
            die_when(StageModule, "on_validation_epoch_end", 2, after=True), id="between validation and record"
        ),
        pytest.param(die_when(BestEpochs, "_write", 2, after=True), id="after the weights, before the state"),
        pytest.param(die_when(BestEpochs, "prune", 2, after=True), id="after the last state"),
        pytest.param(die_when(job, "read_json", 1), id="before the result is collected"),
        pytest.param(die_when(State, "finish", 1), id="before the result is recorded"),
        pytest.param(die_when(State, "publish", 1), id="before the result is published"),
    ],
)
def test_killed_at_a_chosen_point(data, tmp_path, undisturbed, point):
    killed_run(data, tmp_path, point)
    assert run(data, tmp_path) == undisturbed


def test_what_a_kill_left_half_written_is_removed(data, tmp_path):
    killed_run(data, tmp_path, _die_while_writing)
    folder = next(tmp_path.rglob("key.json")).parent
    assert len(list(folder.glob(".checkpoint.*.tmp.ckpt"))) == 1
    killed_run(data, tmp_path, die_when(StageModule, "training_step", 1))
    assert not list(folder.rglob(".*.tmp.*"))


def test_a_changed_bit_in_the_checkpoint_is_never_trained_on(data, tmp_path, undisturbed, capfd):
    killed_run(data, tmp_path, die_when(StageModule, "training_step", 9))
    path = next(tmp_path.rglob(CHECKPOINT))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run(data, tmp_path) == undisturbed
    assert f"{path} differs from its record, so that the training starts anew" in capfd.readouterr().err


def test_changed_weights_of_an_epoch_are_never_published(data, tmp_path, undisturbed, capfd):
    killed_run(data, tmp_path, die_when(job, "read_json", 1))
    path = min(tmp_path.rglob("epoch-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (path.parents[1] / "history.csv").write_text("epoch,loss\n")
    assert run(data, tmp_path) == undisturbed
    assert f"{path} differs from its digest in the state" in capfd.readouterr().err


def test_killed_before_the_first_checkpoint(data, tmp_path, undisturbed):
    killed_run(data, tmp_path, die_when(StageModule, "training_step", 9), minutes=15.0)
    assert not list(tmp_path.rglob(CHECKPOINT))
    assert run(data, tmp_path) == undisturbed


def test_killed_again_and_again(data, tmp_path, undisturbed):
    for step in (2, 2, 3, 1):
        killed_run(data, tmp_path, die_when(StageModule, "training_step", 2 * step))
    assert run(data, tmp_path) == undisturbed
    assert len(read_json(tmp_path / "out" / "training.run.json")["resumes"]) >= 2


def test_the_segmentation_resumes_bit_for_bit_too(data, tmp_path):
    task = segmentation_task(data)
    run_job(make_job(tmp_path / "whole"), task, ONE)

    def child() -> None:
        die_when(StageModule, "training_step", 10)()
        run_job(make_job(tmp_path / "killed", checkpoint_minutes=0.0), task, ONE)

    assert run_in_child(child) == KILLED
    run_job(make_job(tmp_path / "killed", checkpoint_minutes=0.0), task, ONE)
    assert files_of(tmp_path / "killed" / "out") == files_of(tmp_path / "whole" / "out")


def test_half_precision_resumes_with_its_scaler(data, tmp_path):
    # Not bf16: its convolutions on the CPU differ between two undisturbed runs already.
    whole = run(data, tmp_path / "whole", precision="fp16", freeze_bn=True)

    def child() -> None:
        die_when(StageModule, "training_step", 8)()
        run(data, tmp_path / "killed", precision="fp16", freeze_bn=True)

    assert run_in_child(child) == KILLED
    state = torch.load(next((tmp_path / "killed").rglob(CHECKPOINT)), weights_only=True)
    assert "scale" in state["MixedPrecision"]
    assert run(data, tmp_path / "killed", precision="fp16", freeze_bn=True) == whole


def test_a_finished_training_is_published_again_without_a_step(data, tmp_path, undisturbed, monkeypatch):
    run(data, tmp_path)
    for path in (tmp_path / "out").rglob("*.safetensors"):
        path.unlink()
    monkeypatch.setattr(StageModule, "training_step", lambda *_: pytest.fail("it trains"))
    assert run(data, tmp_path) == undisturbed


def test_a_checkpoint_loads_without_running_code(data, tmp_path):
    killed_run(data, tmp_path, die_when(StageModule, "training_step", 6))
    state = torch.load(next(tmp_path.rglob(CHECKPOINT)), weights_only=True)
    assert {"optimizer_states", "lr_schedulers", "state_dict", "callbacks"} <= state.keys()
    assert {"random", "sums", "assessed"} == state["spine_models"]["ranks"][0].keys()


def test_the_state_is_written_no_oftener_than_asked(data, tmp_path, monkeypatch):
    writes = []
    original = StateKeeper._save
    monkeypatch.setattr(StateKeeper, "_save", lambda *arguments: (writes.append(1), original(*arguments)))
    run(data, tmp_path / "seldom", minutes=15.0)
    assert not writes
    run(data, tmp_path / "always", minutes=0.0)
    # Behind every step, every held-out study and every validation.
    assert len(writes) == STEPS + 2 * 3 + 2


def test_a_second_writer_is_refused(data, tmp_path):
    from spine_models.provenance.locks import folder_lock

    with folder_lock(tmp_path / "state"), pytest.raises(UserError, match="is being written by process"):
        run(data, tmp_path)
