from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spine_models.commands.training_needs import CONTEXT_BYTES, needs, read_configuration, table
from spine_models.configuration.trainings import classifier_recipe, segmentation_recipe
from spine_models.errors import UserError
from spine_models.models.convolutions import use_plain
from spine_models.models.losses import segmentation_loss
from spine_models.models.networks import build
from spine_models.provenance.settings import settings_from
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.segmentation_recipe import SegmentationRecipe
from tests.fake_tensors import GIB, fake_tensors, with_fake_values

FLOAT32 = 4
PRESETS = Path(__file__).resolve().parents[2] / "presets"


@pytest.fixture(scope="module")
def presets():
    return {
        name: {need.name: need for need in needs(read_configuration([PRESETS / f"{name}.yaml"]))}
        for name in ("laptop-8g", "laptop-16g", "original-4x48g")
    }


@pytest.mark.parametrize(("preset", "cap_gib"), [("laptop-8g", 7.0), ("laptop-16g", 15.0)])
def test_a_laptop_preset_keeps_the_global_batch_and_fits_its_card(presets, preset, cap_gib):
    laptop, original = presets[preset], presets["original-4x48g"]
    for name, need in laptop.items():
        assert need.memory_gib < cap_gib, name
        assert original[name].memory_gib < 44.5, name
        assert need.batch.global_batch == original[name].batch.global_batch


@pytest.mark.parametrize(("preset", "cap_gib"), [("original-4x48g", 44.5), ("laptop-16g", 15.0), ("laptop-8g", 7.0)])
@pytest.mark.parametrize("training", ["segmentation", "classification ir", "classification ip"])
def test_a_step_of_the_published_batch_fits_the_card_of_its_preset(presets, preset, cap_gib, training):
    """Counted with tensors that have shapes alone: the tensors of ip were 44.3 GiB where batch norm kept its input."""
    config = read_configuration([PRESETS / f"{preset}.yaml"])
    stage, _, variant = training.partition(" ")
    of_stage = classifier_recipe(config, variant) if variant else segmentation_recipe(config)
    recipe = settings_from(ClassificationRecipe if variant else SegmentationRecipe, of_stage)
    need, published = presets[preset][training], {"segmentation": 16, "classification": 64}
    assert need.batch.global_batch == published[stage]
    used = fake_step(config, recipe) + 2 * FLOAT32 * parameters(recipe) + CONTEXT_BYTES
    assert used < cap_gib * GIB
    # The estimate is scaled from a small size; it is never less, and not twice as much.
    assert used <= need.memory_gib * GIB < 2 * used


def fake_step(config, recipe):
    """Return the peak bytes of a micro-batch, forward and backward, with weights and gradients."""
    crops, side = config["crops"], config["half_size"]
    network = a_network(recipe)
    with fake_tensors() as held:
        with_fake_values(network)
        with torch.autocast("cpu", torch.bfloat16):
            if isinstance(recipe, SegmentationRecipe):
                label = torch.empty((recipe.micro_batch, recipe.window, side, side), dtype=torch.uint8)
                loss = segmentation_loss(network(torch.empty(label.shape)[:, None]), label, recipe.loss).total
            else:
                logits = network(torch.empty(recipe.micro_batch, 3, crops["depth"], crops["size"], crops["size"]))
                loss = functional.binary_cross_entropy_with_logits(logits, torch.empty(logits.shape))
        loss.backward()
    return held.peak


def a_network(recipe):
    with torch.device("meta"):
        network = build(
            recipe.network, freeze_bn=recipe.freeze_bn, activation_checkpointing=recipe.activation_checkpointing
        )
    use_plain(network)
    return network.train()


def parameters(recipe):
    return sum(parameter.numel() for parameter in a_network(recipe).parameters())


def test_the_steps_are_those_of_the_recipe(presets):
    need = presets["original-4x48g"]["segmentation"]
    assert need.steps == (87 * 3 // 4) * 64 // 16 * 40
    assert "| 4 x 4 x 1 |" in table([need])


def test_a_missing_preset_is_named():
    with pytest.raises(UserError, match=r"nowhere.yaml"):
        read_configuration([Path("nowhere.yaml")])


def test_the_estimate_is_the_same_each_time_and_counts_the_phantoms():
    first, second = (needs(read_configuration([PRESETS / "demo.yaml"])) for _ in range(2))
    assert first == second
    config = read_configuration([PRESETS / "demo.yaml"])
    phantom, section = config["phantom"], config["segmentation"]
    draws = phantom["segmented"] * (section["folds"] - 1) // section["folds"] * section["training"]["draws_per_study"]
    assert first[0].steps == draws // section["training"]["global_batch"] * section["training"]["epochs"]


@pytest.mark.parametrize("name", ["laptop-16g", "original-4x48g"])
def test_the_table_in_the_readme_is_what_the_command_prints(presets, name):
    readme = (PRESETS.parent / "README.md").read_text(encoding="utf-8")
    assert [line for line in table(list(presets[name].values())).splitlines() if line not in readme] == []
