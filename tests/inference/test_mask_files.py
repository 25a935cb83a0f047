"""Masks of a shard on disk: who made them, what is reused, what is left."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.tiny_data import volume_facts
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.data.crops.mask_facts import MaskFacts
from spine_models.data.crops.plausibility import PlausibilitySettings
from spine_models.data.dataset.study_tokens import TRAINING_STUDIES, study_tokens
from spine_models.errors import UserError
from spine_models.inference.mask_files import InferMasksSettings, MaskInputs, infer_masks
from spine_models.inference.masks import checked_mask
from spine_models.levels import LEVELS
from spine_models.models.unet import CsnUNet, UNetSettings
from spine_models.models.weights import load_model, save_model
from spine_models.provenance.canonical import canonical_json
from spine_models.provenance.shelf import Shelf
from tests.data.sample_files import write_stage
from tests.gpu_troubles import out_of_memory, overflowing
from tests.vouching import published

STUDIES = ("1.2.1", "1.2.2", "1.2.3", "1.2.4")
FOLDS = {"1.2.1": 0, "1.2.2": 1}  # 1.2.3 is not segmented; 1.2.4 is of the patient of 1.2.2
PLAUSIBILITY = PlausibilitySettings(0.1, "none")
WINDOWS = SlidingWindowSettings(window=16, overlap=8, z_multiple=8, batch=1)
SETTINGS = InferMasksSettings(1, PLAUSIBILITY, WINDOWS, device="cpu")


def _network(seed: int) -> CsnUNet:
    torch.manual_seed(seed)
    return CsnUNet(UNetSettings(base_channels=8, decoder_channels=(8, 8, 8, 8, 8)))


class Run:
    """Inputs of the rule in a folder, and the rule."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "masks" / "0.json"
        random = np.random.default_rng(0)
        self.volumes = {study: random.integers(-1000, 1500, (8, 32, 32)).astype(np.int16) for study in STUDIES}
        self.write_volumes()
        self.models = [self.write_model(fold, fold) for fold in (0, 1)]
        self.folds = folder / "segmentation.csv"
        self.folds.write_text("StudyInstanceUID,group,fold\n1.2.1,p1,0\n1.2.2,p2,1\n", encoding="utf-8")
        published(self.folds)

    def write_volumes(self) -> None:
        groups = dict(zip(STUDIES, ("p1", "p2", "p3", "p2"), strict=True))
        facts = {study: volume_facts(group=groups[study]) for study in self.volumes}
        self.half = write_stage(self.folder, "volumes_half", self.volumes, facts)

    def write_model(self, fold: int, seed: int) -> Path:
        path = self.folder / f"fold{fold}" / "model.safetensors"
        seen = [study for study, held_out in FOLDS.items() if held_out != fold]
        save_model(path, _network(seed), {"fold": fold, TRAINING_STUDIES: study_tokens(seen)})
        return published(path)

    def infer(self, settings: InferMasksSettings = SETTINGS) -> Shelf:
        infer_masks(MaskInputs(self.half, self.folds, self.models), settings, gpus=0, code="code", out=self.out)
        return Shelf([self.out])

    def times(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (self.folder / "masks" / "0").glob("1.*")}


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def test_each_mask_is_made_by_the_networks_that_did_not_see_the_study(run):
    masks = run.infer()
    used = {study: masks.record(study).facts["models"] for study in STUDIES}
    assert used == {"1.2.1": ["fold0"], "1.2.2": ["fold1"], "1.2.3": ["fold0", "fold1"], "1.2.4": ["fold1"]}
    for study, names in used.items():
        models = [
            InferenceNetwork(
                load_model(run.folder / name / "model.safetensors", "segmentation")[0], torch.device("cpu")
            )
            for name in names
        ]
        expected, facts = checked_mask(run.volumes[study], volume_facts(), MaskPredictor(models, WINDOWS), PLAUSIBILITY)
        np.testing.assert_array_equal(masks.array(study), expected)
        assert masks.facts(study, MaskFacts) == replace(facts, models=tuple(names))
        assert set(facts.levels) == set(LEVELS)


def test_finished_masks_are_reused_and_only_what_changed_is_made_again(run):
    run.infer()
    before = run.times()
    run.infer(InferMasksSettings(1, PLAUSIBILITY, WINDOWS, device="auto"))
    assert run.times() == before
    run.write_model(1, seed=5)
    run.infer()
    changed = {name for name, time in run.times().items() if time != before[name]}
    assert changed == {f"{study}{suffix}" for study in ("1.2.2", "1.2.3", "1.2.4") for suffix in (".npy", ".json")}


def test_a_damaged_mask_is_made_again_and_a_stranger_removed(run):
    run.infer()
    good = np.array(Shelf([run.out]).array("1.2.3"))
    (run.folder / "masks" / "0" / "1.2.3.npy").write_bytes(b"damaged")
    del run.volumes["1.2.1"]
    run.write_volumes()
    masks = run.infer()
    np.testing.assert_array_equal(masks.array("1.2.3"), good)
    assert masks.studies == ["1.2.2", "1.2.3", "1.2.4"]
    assert not any(name.startswith("1.2.1.") for name in run.times())


def test_nothing_is_written_by_a_network_that_saw_the_study(run):
    run.folds.write_text("StudyInstanceUID,group,fold\n1.2.1,p1,1\n1.2.2,p2,0\n", encoding="utf-8")
    published(run.folds)
    with pytest.raises(UserError, match="train the segmentation again"):
        run.infer()
    assert run.times() == {}
    assert not run.out.exists()


def _script(run: Run, *models: Path) -> subprocess.CompletedProcess[str]:
    config = {
        "math_threads": 1,
        "plausibility": {"min_component_fraction": 0.1, "fallback": "none"},
        "inference": {"window": 16, "overlap": 8, "z_multiple": 8, "batch": 1},
    }
    command = [sys.executable, "-m", "workflow_scripts.infer_masks", "--config", canonical_json(config)]
    command += ["--code", "code", "--set", "device=cpu", "--gpus", "0", "--half", str(run.half)]
    command += ["--folds", str(run.folds), "--models", *map(str, models), "--out", str(run.out)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def test_the_script_runs_as_the_rule_calls_it_and_finds_finished_masks(run):
    run.infer()
    before = run.times()
    result = _script(run, *run.models)
    assert result.returncode == 0, result.stderr
    assert run.times() == before


def test_the_script_takes_a_bundle_and_says_in_one_sentence_what_is_wrong(run, bundle_folder):
    result = _script(run, bundle_folder / "bundle.json")
    assert result.returncode == 0, result.stderr
    assert Shelf([run.out]).record("1.2.3").facts["models"] == ["csn_unet-0"]
    result = _script(run, run.folder / "bundle.json")
    assert result.returncode == 1
    start, sentence = result.stderr.splitlines()
    assert start.startswith("infer_masks starts on ")
    assert sentence.startswith("error: ")


def test_a_mask_says_that_half_precision_overflowed_and_is_float32s(run, monkeypatch):
    masks = run.infer()
    expected = np.array(masks.array("1.2.3"))
    assert not masks.facts("1.2.3", MaskFacts).overflowed
    shutil.rmtree(run.out.parent)
    overflowing(monkeypatch)
    masks = run.infer()
    np.testing.assert_array_equal(masks.array("1.2.3"), expected)
    assert all(masks.facts(study, MaskFacts).overflowed for study in STUDIES)


@pytest.mark.parametrize("where", ["__init__", "logits"])
def test_memory_that_runs_out_is_a_sentence_with_the_key_that_takes_less(run, monkeypatch, where):
    out_of_memory(monkeypatch, where)
    with pytest.raises(UserError, match=r"^out of GPU memory: lower segmentation\.inference\.window.* device: cpu$"):
        run.infer()
    assert not run.out.exists()
