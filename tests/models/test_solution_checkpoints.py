"""Checkpoints that an independent re-implementation wrote give equal outputs, or a sentence."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch

from spine_models.errors import UserError
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.solution_checkpoints import read_solution_checkpoint
from spine_models.models.unet import CsnUNet, UNetSettings
from tests.models.solution_networks import FORMS, SolutionClassifier, SolutionUNet, randomised, save_checkpoint

TOLERANCE = 1e-5
"""Largest difference of outputs, relative to the largest output (issue: 1e-5)."""


def assert_equal_outputs(ours: torch.nn.Module, theirs: torch.nn.Module, image: torch.Tensor) -> None:
    with torch.no_grad():
        expected = theirs(image)
        assert (ours(image) - expected).abs().max() <= TOLERANCE * expected.abs().max()
    assert expected.std() > 0


@pytest.fixture(scope="module")
def unet() -> SolutionUNet:
    return randomised(SolutionUNet(base=8, filters=(8, 12, 16, 24), last=4), seed=1)


@pytest.fixture(scope="module")
def checkpoint(unet, tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("published") / "seg_dice", unet, "best")


def test_the_published_segmentation_network_at_its_own_width(tmp_path):
    theirs = randomised(SolutionUNet(), seed=0)
    assert len(theirs.state_dict()) == 354
    ours = read_solution_checkpoint(save_checkpoint(tmp_path / "seg_dice", theirs, "best"))
    assert ours.settings == UNetSettings(last_block="full")
    assert len(ours.state_dict()) == 354
    assert_equal_outputs(ours, theirs, torch.randn(1, 1, 8, 64, 64))


@pytest.mark.parametrize("variant", ["ir", "ip"])
def test_the_published_classifiers_at_their_own_width(tmp_path, variant):
    theirs = randomised(SolutionClassifier(variant), seed=2)
    ours = read_solution_checkpoint(save_checkpoint(tmp_path / "swa", theirs, "averaged"))
    assert ours.settings == ClassifierSettings(mode=variant)
    assert_equal_outputs(ours, theirs, torch.randn(1, 3, 8, 64, 64))


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_of_a_segmentation_network(tmp_path, unet, form):
    ours = read_solution_checkpoint(save_checkpoint(tmp_path / "any.name", unet, form))
    assert isinstance(ours, CsnUNet)
    assert not ours.training
    assert_equal_outputs(ours, unet, torch.randn(2, 1, 16, 32, 64))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("variant", "depth"), [("ir", 50), ("ip", 50), ("ir", 101), ("ip", 152)])
def test_every_published_form_of_a_classifier(tmp_path, form, variant, depth):
    theirs = randomised(SolutionClassifier(variant, depth, base=8), seed=3)
    ours = read_solution_checkpoint(save_checkpoint(tmp_path / "any.name", theirs, form))
    assert isinstance(ours, CsnClassifier)
    assert (ours.settings.mode, ours.settings.depth, ours.settings.base_channels) == (variant, depth, 8)
    assert_equal_outputs(ours, theirs, torch.randn(2, 3, 8, 32, 32))
    counts = [value for name, value in ours.state_dict().items() if name.endswith("num_batches_tracked")]
    assert {(value.dtype, int(value)) for value in counts} == {(torch.int64, 1000)}


def test_the_name_of_the_file_plays_no_part(tmp_path, checkpoint, unet):
    renamed = tmp_path / "ip_152_fold3_classifier.pth"
    shutil.copyfile(checkpoint, renamed)
    assert isinstance(read_solution_checkpoint(renamed), CsnUNet)


def changed(checkpoint: Path, path: Path, change) -> Path:
    content = torch.load(checkpoint, weights_only=False)
    change(content["state_dict"])
    torch.save(content, path)
    return path


def _rename(old, new):
    return lambda state: state.update({f"module.{new}": state.pop(f"module.{old}")})


def _remove(name):
    return lambda state: state.pop(f"module.{name}")


def _set(name, value):
    return lambda state: state.update({f"module.{name}": value})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_rename("backbone.conv1.bn.bias", "backbone.conv1.bn.offset"), "backbone.conv1.bn.bias is missing"),
        (_remove("backbone.layer2.0.conv1.bn.running_var"), "layer2.0.conv1.bn.running_var is missing"),
        (_remove("backbone.layer2.0.conv1.bn.num_batches_tracked"), "num_batches_tracked is missing"),
        (_set("backbone.layer5.weight", torch.zeros(1)), "backbone.layer5.weight is not expected"),
        (_set("backbone.layer1.0.conv1.conv.weight", torch.zeros(8, 9, 1, 1, 1)), r"has the shape \(8, 9, 1, 1, 1\)"),
        (_remove("backbone.conv1.conv.weight"), "no encoder"),
        (
            lambda state: [state.pop(name) for name in list(state) if ".layer3.5." in name],
            "no encoder of a known depth",
        ),
        (_remove("decoder.stages.1.spatial.weight"), "decoder.stages.1 is not a block"),
        (_remove("decoder.stages.1.spatial.bias"), "decoder.stages.1.spatial.bias is missing"),
        (_rename("decoder.bottlenecks.2.temporal.weight", "decoder.bottleneck.2.temporal.weight"), "is not a block"),
        (_set("decoder.bottlenecks.0.spatial.weight", torch.zeros(24, 9, 1, 3, 3)), "bottlenecks.0 is not a block"),
        (_set("decoder.stages.0.temporal.bias", torch.zeros(9)), r"temporal.bias.*shape|has the shape \(9,\)"),
        (_remove("decoder.last_upsample.weight"), "nothing in it fits our last.block"),
        (_remove("decoder.last_upsample.bias"), "last_upsample.bias is missing"),
        (_remove("final.weight"), "decoder is not that of the published"),
        (_set("final.scale", torch.zeros(1)), "final.scale is not expected"),
        (_set("more.weight", torch.zeros(2, 2)), "more is not a block"),
        (lambda state: state.update({"final.bias": torch.zeros(8)}), "both with and without"),
        (_set("final.bias", torch.full((8,), torch.nan)), "final.bias is not finite"),
    ],
)
def test_a_tensor_that_is_missing_foreign_or_of_another_shape_is_one_sentence(tmp_path, checkpoint, change, sentence):
    path = changed(checkpoint, tmp_path / "changed", change)
    with pytest.raises(UserError, match=sentence) as error:
        read_solution_checkpoint(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("outputs", [1, 400])
def test_a_classifier_of_other_targets_is_refused(tmp_path, outputs):
    theirs = SolutionClassifier("ir", 50, base=8)
    theirs.head = torch.nn.Linear(256, outputs)
    with pytest.raises(UserError, match="head is not a block of this network"):
        read_solution_checkpoint(save_checkpoint(tmp_path / "c", theirs, "bare"))


def test_an_encoder_alone_is_refused(tmp_path):
    theirs = SolutionClassifier("ir", 50, base=8)
    del theirs.head
    with pytest.raises(UserError, match="nothing in it fits our head"):
        read_solution_checkpoint(save_checkpoint(tmp_path / "c", theirs, "bare"))


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("plain", [True, False])
def test_a_pickle_that_runs_code_is_refused_unread(tmp_path, checkpoint, plain):
    path, harm = tmp_path / "seg_dice", tmp_path / "touched"
    if plain:
        path.write_bytes(pickle.dumps({"state_dict": RunsCode(harm)}))
    else:
        content = torch.load(checkpoint, weights_only=False)
        torch.save(content | {"metrics": RunsCode(harm)}, path)
    with pytest.raises(UserError, match=r"not safe to read|damaged"):
        read_solution_checkpoint(path)
    assert not harm.exists()
