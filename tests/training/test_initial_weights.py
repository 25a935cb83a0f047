"""Trainings that start from a bundle: from a network that did not learn from what they are judged by, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import tiny_data
from benchmarks.tiny_training import classification_task, die_when, make_job, segmentation_task
from spine_models.data.dataset.study_tokens import PARTLY_UNKNOWN, TRAINING_STUDIES, study_tokens
from spine_models.errors import UserError
from spine_models.inference.bundle import load_bundle
from spine_models.inference.import_solution import SolutionTables, import_solution
from spine_models.models.networks import build
from spine_models.models.weights import load_model, load_state, save_model
from spine_models.provenance.canonical import digest_file
from spine_models.training.batching import BatchPlan
from spine_models.training.folds import Split
from spine_models.training.initial_weights import InitialNetworks, choose_initial
from spine_models.training.job import run_job
from spine_models.training.stage_module import StageModule
from tests.models.solution_networks import SolutionClassifier, SolutionUNet, randomised, save_checkpoint
from tests.training.conftest import ONE, files_of, run_in_child

NETWORK = tiny_data.configuration()["classification"]["variants"]["ip"]["network"]
SPLIT = Split(("1.2.3", "1.2.4"), ("1.2.0", "1.2.1"), ("group-3", "group-4"), ("group-0", "group-1"))
KILLED = -9


def stored(folder: Path, *studies: list[str] | None, **settings: Any) -> InitialNetworks:
    """Write one network for each list of studies that it learnt from; None: its weights do not say."""
    files = []
    for seed, names in enumerate(studies):
        torch.manual_seed(seed)
        files.append(folder / f"{seed}.safetensors")
        known = {} if names is None else {TRAINING_STUDIES: study_tokens(names)}
        save_model(files[-1], build({**NETWORK, **settings}), known)
    return InitialNetworks(files, [digest_file(path) for path in files])


def test_the_first_network_that_knows_no_held_out_study_or_patient_is_chosen(tmp_path):
    networks = stored(tmp_path, ["1.2.3", "1.2.1"], ["group-0"], ["1.2.3", "group-3"], ["9.9"])
    chosen = choose_initial(networks, NETWORK, SPLIT, "classification")
    assert chosen is not None
    assert chosen.path.name == "2.safetensors"
    assert chosen.says_all
    assert chosen.tokens == set(study_tokens(["1.2.3", "group-3"]))


@pytest.mark.parametrize("held_out", ["1.2.0", "group-1"])
def test_a_bundle_that_knows_a_held_out_study_is_refused(tmp_path, held_out):
    networks = stored(tmp_path, ["1.2.3", held_out], [held_out])
    with pytest.raises(UserError, match=f"learnt from {held_out}, by which this fold"):
        choose_initial(networks, NETWORK, SPLIT, "classification")


def test_without_a_bundle_there_is_nothing_to_start_from():
    assert choose_initial(InitialNetworks(), NETWORK, SPLIT, "classification") is None


def test_weights_that_do_not_say_what_they_learnt_from_are_taken_and_known_to_be_so(tmp_path):
    chosen = choose_initial(stored(tmp_path, None), NETWORK, SPLIT, "classification")
    assert chosen is not None
    assert not chosen.says_all


@pytest.mark.parametrize("settings", [{"depth": 101}, {"mode": "ir"}, {"base_channels": 8}])
def test_a_network_of_another_architecture_is_a_sentence(tmp_path, settings):
    networks = stored(tmp_path, ["9.9"], **settings)
    with pytest.raises(UserError, match=r"no network that fits .* \(0.safetensors: "):
        choose_initial(networks, NETWORK, SPLIT, "classification")


def test_dropout_may_differ_since_it_has_no_weights(tmp_path):
    assert choose_initial(stored(tmp_path, ["9.9"], dropout=0.1), NETWORK, SPLIT, "classification") is not None


def test_a_changed_byte_is_noticed(tmp_path):
    networks = stored(tmp_path, ["9.9"])
    content = bytearray(networks.files[0].read_bytes())
    content[-1] ^= 1
    networks.files[0].write_bytes(content)
    with pytest.raises(UserError, match="differs from its bundle's checksum"):
        choose_initial(networks, NETWORK, SPLIT, "classification")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A bundle imported from checkpoints in the published form; its networks learnt from studies of nobody here."""
    folder = tmp_path_factory.mktemp("solution")
    save_checkpoint(folder / "dice", randomised(SolutionUNet(4, (4, 6, 12, 16), 4), seed=1), "best")
    save_checkpoint(folder / "ir", randomised(SolutionClassifier("ir", 50, base=4), seed=2), "averaged")
    save_checkpoint(folder / "ip", randomised(SolutionClassifier("ip", 50, base=4), seed=3), "training")
    tables = {"t.csv": "cube_id,fold\n7.7.1,0\n7.7.2,1\n"}
    for name, text in tables.items():
        (folder / name).write_text(text)
    seen = SolutionTables(folder / "t.csv", folder / "t.csv")
    import_solution(folder, folder / "bundle", seen, our_defaults=False, progress=lambda name: None)
    return folder / "bundle"


def started_from(task, bundle: Path, stage: str):
    entries = getattr(load_bundle(bundle), stage)
    inputs = replace(task.inputs, initial=[bundle / entry.file for entry in entries])
    return replace(task, inputs=inputs, initial_sha256=[entry.sha256 for entry in entries])


def fine_tuned(data: Path, bundle: Path, **changes: Any):
    return started_from(classification_task(data, **changes), bundle, "classification")


def segmented(data: Path, bundle: Path):
    network = load_state(bundle / "segmentation-csn_unet-0.safetensors")[1]
    settings = {**network["settings"], "kind": network["kind"]}
    return started_from(segmentation_task(data, network=settings), bundle, "segmentation")


@pytest.mark.parametrize("stage", ["segmentation", "classification"])
def test_a_training_starts_with_the_weights_of_the_bundle(data, bundle, stage):
    task = segmented(data, bundle) if stage == "segmentation" else fine_tuned(data, bundle)
    own = task.module(BatchPlan(2, 2, 1), 1).network.state_dict()
    name = "segmentation-csn_unet-0" if stage == "segmentation" else "classification-ip-0"
    expected = load_model(bundle / f"{name}.safetensors", stage)[0].state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in expected.items())


def test_the_key_holds_the_content_of_the_weights_that_are_used(data, bundle, tmp_path):
    plain, started = classification_task(data), fine_tuned(data, bundle)
    assert plain.digests() | {"initial": ""} == started.digests() | {"initial": ""}
    entry = load_bundle(bundle).classification[0]
    assert entry.name == "ip-0"
    assert (plain.digests()["initial"], started.digests()["initial"]) == ("none", entry.sha256)
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in bundle.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert fine_tuned(data, moved).digests() == started.digests()


def run(data: Path, bundle: Path, folder: Path, minutes: float = 0.0) -> dict[str, bytes]:
    run_job(make_job(folder, checkpoint_minutes=minutes), fine_tuned(data, bundle), ONE)
    return files_of(folder / "out")


def test_killed_and_resumed_it_ends_with_the_bytes_of_an_undisturbed_run_and_names_all_studies(data, bundle, tmp_path):
    undisturbed = run(data, bundle, tmp_path / "undisturbed", minutes=15.0)

    def child() -> None:
        die_when(StageModule, "training_step", 8)()
        run(data, bundle, tmp_path / "killed")

    assert run_in_child(child) == KILLED
    assert run(data, bundle, tmp_path / "killed") == undisturbed
    scratch = tmp_path / "scratch"
    run_job(make_job(scratch), classification_task(data), ONE)
    weights = next((tmp_path / "killed" / "out" / "epochs").glob("*.safetensors"))
    plain = next((scratch / "out" / "epochs").glob("*.safetensors"))
    assert not torch.equal(load_state(weights)[0]["head.weight"], load_state(plain)[0]["head.weight"])
    learnt, own = (load_state(path)[1]["provenance"] for path in (weights, plain))
    assert set(learnt[TRAINING_STUDIES]) == set(own[TRAINING_STUDIES]) | set(study_tokens(["7.7.1", "7.7.2"]))
    assert learnt["inputs"]["initial"] == load_bundle(bundle).classification[0].sha256
    assert PARTLY_UNKNOWN not in learnt


def test_what_starts_from_weights_that_do_not_say_does_not_claim_to_say_all(data, tmp_path, capsys):
    networks = stored(tmp_path, None)
    task = classification_task(data)
    task = replace(task, inputs=replace(task.inputs, initial=networks.files), initial_sha256=networks.sha256)
    run_job(make_job(tmp_path / "run"), task, ONE)
    assert "does not name every study that it learnt from" in capsys.readouterr().err
    weights = next((tmp_path / "run" / "out" / "epochs").glob("*.safetensors"))
    assert load_state(weights)[1]["provenance"][PARTLY_UNKNOWN] is True


def test_a_held_out_study_of_the_bundle_stops_the_training_before_it_begins(data, tmp_path):
    networks = stored(tmp_path, [tiny_data.STUDIES[0]])
    task = classification_task(data)
    task = replace(task, inputs=replace(task.inputs, initial=networks.files), initial_sha256=networks.sha256)
    with pytest.raises(UserError, match=rf"learnt from {tiny_data.STUDIES[0]}"):
        run_job(make_job(tmp_path / "run"), task, ONE)
    assert not (tmp_path / "run" / "out").exists()
