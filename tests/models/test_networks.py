"""The registry: what the workflow asks while it is parsed, and what every registered network offers."""

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from spine_models.models.batch_norm import batch_norms
from spine_models.models.csn import fold
from spine_models.models.networks import KIND, KINDS, build, kinds_of, modules_of, modules_of_stages
from spine_models.models.published import PUBLISHED
from spine_models.models.unet import CsnUNet, UNetSettings
from spine_models.provenance.fingerprint import Fingerprints

NARROW = [
    {"kind": "csn_unet", "depth": 50, "base_channels": 8, "decoder_channels": [8, 8, 8, 8, 4], "batch_norm_eps": 1e-3},
    {"kind": "csn", "mode": "ir", "depth": 50, "base_channels": 8, "dropout": 0.5},
    {"kind": "csn", "mode": "ip", "depth": 152, "base_channels": 8, "dropout": 0.5},
]
CHANNELS = {"segmentation": 1, "classification": 3}


def image_for(network):
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, CHANNELS[KINDS[network.kind].stage], 16, 64, 64, generator=random)


@pytest.fixture(params=NARROW, ids=lambda settings: f"{settings['kind']}-{settings.get('mode', '')}")
def network(request):
    """Every registered kind, its batch norms far from their start."""
    torch.manual_seed(0)
    network = build(request.param)
    for norm in batch_norms(network):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.2)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return network


def test_every_kind_is_tried_here():
    assert {settings[KIND] for settings in NARROW} == set(KINDS)


def test_the_registry_needs_no_torch():
    code = "import sys; import spine_models.models.networks; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_stages_and_modules():
    assert kinds_of("segmentation") == ("csn_unet",)
    assert kinds_of("classification") == ("csn",)
    assert modules_of_stages("classification") == ["spine_models.models.classifier"]
    assert modules_of(NARROW) == ["spine_models.models.classifier", "spine_models.models.unet"]


@pytest.mark.parametrize("name", KINDS)
def test_the_registry_says_what_the_class_says(name):
    kind = KINDS[name]
    network = type(build(next(settings for settings in NARROW if settings[KIND] == name)))
    assert (network.kind, network.__module__, network.__name__) == (name, kind.module, kind.network)
    assert network.strides == kind.strides
    assert {field.name for field in dataclasses.fields(network.settings_type)} == set(kind.settings)
    assert [setting for setting, schema in kind.settings.items() if not schema.get("description")] == []


@pytest.mark.parametrize(
    ("script", "settings", "without"),
    [
        ("train_segmentation", NARROW[0], {"classifier"}),
        ("infer_masks", NARROW[0], {"classifier", "losses"}),
        ("train_classifier", NARROW[1], {"unet", "losses", "sliding_window"}),
        ("average_checkpoints", NARROW[1], {"unet", "losses", "sliding_window"}),
        ("predict_oof", NARROW[1], {"unet", "losses", "sliding_window"}),
        ("export_bundle", None, {"unet", "classifier", "csn"}),
    ],
)
def test_the_code_of_a_rule_holds_its_own_network_alone(script, settings, without):
    modules = modules_of([settings] if settings else [])
    root = Path(__file__).parents[2]
    found = Fingerprints(root).closure(f"workflow_scripts/{script}.py", modules)
    assert found.issuperset(modules)
    assert found.isdisjoint({f"spine_models.models.{name}" for name in (*without, "networks", "published")})


def test_published_weights_fit_networks_that_there_are():
    for published in PUBLISHED.values():
        for kind, settings in published.fits.items():
            assert set(settings) <= set(KINDS[kind].settings)


def test_the_strides_are_those_of_the_deepest_features(network):
    """The smallest output of any unit is as much smaller than the image as the strides say."""
    sizes = []
    for unit in network.units():
        unit.register_forward_hook(lambda _unit, _inputs, output: sizes.append(output.shape[2:]))
    with torch.no_grad():
        network.eval()(image_for(network))
    assert len(sizes) == len(network.units())
    along_z, in_plane = network.strides
    assert min(sizes) == (16 // along_z, 64 // in_plane, 64 // in_plane)


def test_watched_layers_are_units(network):
    assert set(network.watched()) <= set(network.units())
    assert network.watched()


def test_options_reach_the_network():
    frozen = build(NARROW[1], freeze_bn=True, activation_checkpointing=True)
    assert not any(norm.training for norm in batch_norms(frozen))
    assert frozen.backbone.activation_checkpointing


@pytest.mark.parametrize(
    ("change", "error"), [({"kind": "other"}, ValueError), ({"depht": 50}, TypeError), ({"depth": 51}, ValueError)]
)
def test_what_there_is_not_is_refused(change, error):
    with pytest.raises(error):
        build(NARROW[1] | change)


def test_a_folded_network_computes_the_same(network):
    network.eval()
    before = copy.deepcopy(network.state_dict())
    folded = network.folded()
    assert not list(batch_norms(folded))
    with torch.no_grad():
        expected, got = network(image_for(network)), folded(image_for(network))
    assert (expected - got).abs().max() < 1e-5 * expected.abs().max()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_folding_keeps_the_memory_format():
    network = build(NARROW[1]).eval().to(memory_format=torch.channels_last_3d)
    assert network.folded().backbone.conv1.stem.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_network_in_training_is_not_folded():
    with pytest.raises(ValueError, match="eval"):
        CsnUNet(UNetSettings(base_channels=8, decoder_channels=(8, 8, 8, 8, 4))).folded()


def test_a_batch_norm_without_a_convolution_is_not_folded():
    with pytest.raises(ValueError, match="convolution"):
        fold(nn.Sequential(nn.BatchNorm3d(2)).eval())
