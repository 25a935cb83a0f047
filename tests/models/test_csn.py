"""The adapter to mmaction2's CSN: sizes of features, published parameter counts, modes, and what it leaves behind."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from spine_models.models.batch_norm import batch_norms
from spine_models.models.csn import CsnBackbone, CsnSettings, fold

NARROW = CsnSettings("ir", 50, 8)


def a_clip(depth: int = 8, side: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, depth, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("variant", "depth", "backbone", "with_head"),
    # In millions; the head is the published one, 2048 to 400. Backbones and networks as published (29.7 M, 33.0 M).
    [("ir", 50, 12.31, 13.1), ("ir", 152, 28.88, 29.7), ("ip", 152, 32.20, 33.0)],
)
def test_parameter_counts_are_the_published_ones(variant, depth, backbone, with_head):
    with torch.device("meta"):
        network = CsnBackbone(CsnSettings(variant, depth))
        head = nn.Linear(network.channels[-1], 400)
    own, of_head = (sum(p.numel() for p in part.parameters()) for part in (network, head))
    assert round(own / 1e6, 2) == backbone
    assert round((own + of_head) / 1e6, 1) == with_head


@pytest.mark.parametrize("variant", ["ir", "ip"])
def test_features_have_the_strides_of_the_method(variant):
    network = CsnBackbone(CsnSettings(variant, 50, 8)).eval()
    features = network(torch.zeros(1, 3, 16, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (8, 16, 32, 48),
        (32, 16, 16, 24),
        (64, 8, 8, 12),
        (128, 4, 4, 6),
        (256, 2, 2, 3),
    ]
    assert network.channels == (8, 32, 64, 128, 256)


def test_nothing_is_frozen_or_computed_twice_unless_it_is_asked_for():
    network = CsnBackbone(CsnSettings("ir", 50, base_channels=4))
    assert not network.activation_checkpointing
    assert all(norm.training for norm in batch_norms(network))


def test_published_widths():
    with torch.device("meta"):
        assert CsnBackbone(CsnSettings("ir", 50)).channels == (64, 256, 512, 1024, 2048)


def test_the_first_feature_is_the_stem_before_pooling():
    network = CsnBackbone(NARROW).eval()
    clip = a_clip()
    assert torch.equal(network(clip)[0], network.conv1(clip))


def test_variants_differ_in_the_pointwise_convolution_alone():
    with torch.device("meta"):
        ir, ip = (CsnBackbone(CsnSettings(v, 50, 8)).state_dict() for v in ("ir", "ip"))
    assert ir["layer1.0.conv2.0.conv.weight"].shape == (8, 1, 3, 3, 3)
    assert ip["layer1.0.conv2.0.conv.weight"].shape == (8, 8, 1, 1, 1)
    assert ip["layer1.0.conv2.1.conv.weight"].shape == (8, 1, 3, 3, 3)


def test_eps_reaches_every_batch_norm():
    assert {norm.eps for norm in batch_norms(CsnBackbone(NARROW))} == {1e-3}
    assert {norm.eps for norm in batch_norms(CsnBackbone(CsnSettings("ir", 50, 8, 1e-5)))} == {1e-5}


def test_train_and_eval_return_the_network():
    network = CsnBackbone(NARROW)
    assert network.train() is network
    assert network.eval() is network
    assert not network.training


@pytest.mark.parametrize(("settings", "named"), [({"depth": 34}, r"'ir', 34$"), ({"mode": "xx"}, r"not 'xx', 50$")])
def test_an_impossible_network_is_refused(settings, named):
    with pytest.raises(ValueError, match=r"^a CSN is of mode \('ir', 'ip'\) and depth \(50, 101, 152\), .*" + named):
        CsnSettings(**settings)


def test_the_published_network_is_the_default():
    assert CsnSettings() == CsnSettings("ir", 50, 64, 1e-3)


def test_a_new_network_has_kaimings_weights_and_norms_that_change_nothing():
    """The last norm of a block starts from 1, too: a start from 0 would be another recipe."""
    torch.manual_seed(0)
    network = CsnBackbone(CsnSettings("ir", 50, 16))
    for norm in batch_norms(network):
        assert (norm.weight == 1).all() and (norm.bias == 0).all()
        assert norm.weight.requires_grad and norm.bias.requires_grad
    weight = network.layer3[1].conv1.conv.weight
    # Fan out, as mmengine's kaiming_init.
    assert weight.std().item() == pytest.approx((2 / weight.shape[0]) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("checkpointing", "training", "runs"), [(True, True, 2), (True, False, 1), (False, True, 1)])
def test_checkpointing_runs_each_unit_again_in_the_backward_pass_of_a_training(checkpointing, training, runs):
    network = CsnBackbone(NARROW, activation_checkpointing=checkpointing).train(training)
    units = network.units()
    seen = []
    for number, unit in enumerate(units):
        unit.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    network(a_clip(side=32))[-1].sum().backward()
    assert seen[: len(units)] == list(range(1 + 3 + 4 + 6 + 3))
    assert sorted(seen) == sorted(list(range(len(units))) * runs)


def test_a_folded_network_computes_the_same_without_batch_norm():
    torch.manual_seed(0)
    network = CsnBackbone(CsnSettings("ip", 50, 8))
    for norm in batch_norms(network):
        for values in (norm.weight.data, norm.running_var):
            values.uniform_(0.5, 1.5)
        for values in (norm.bias.data, norm.running_mean):
            values.uniform_(-0.2, 0.2)
    network.eval()
    folded = fold(network)
    assert list(batch_norms(folded)) == []
    assert len(list(batch_norms(network))) > 50
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    clip = a_clip(side=32)
    with torch.no_grad():
        for one, other in zip(folded(clip), network(clip), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_a_network_in_training_is_not_folded():
    with pytest.raises(ValueError, match=r"^fold batch norm into a network in evaluation: call eval\(\) before$"):
        fold(CsnBackbone(NARROW))


def test_a_batch_norm_that_follows_no_convolution_is_not_folded():
    with pytest.raises(ValueError, match=r"^a batch norm of this network does not follow a convolution$"):
        fold(nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2)).eval())


def test_weights_come_from_the_seed():
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(CsnBackbone(NARROW).state_dict())
    first, same, other = (state["layer3.1.conv1.conv.weight"] for state in states)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def a_step(network: nn.Module) -> dict[str, torch.Tensor]:
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    network(a_clip())[-1].square().mean().backward()
    optimizer.step()
    return before


def test_a_step_leaves_frozen_batch_norm_as_it_is():
    network = CsnBackbone(CsnSettings("ip", 50, 8), freeze_bn=True)
    network.eval()
    network.train()
    before = a_step(network)
    after = network.state_dict()
    norm_names = {name for name in before if ".bn." in name}
    assert len(norm_names) == 5 * len(list(batch_norms(network)))
    assert all(torch.equal(before[name], after[name]) for name in norm_names)
    assert not torch.equal(before["layer4.0.conv3.conv.weight"], after["layer4.0.conv3.conv.weight"])


def test_a_step_changes_trained_batch_norm():
    network = CsnBackbone(NARROW)
    before = a_step(network)
    after = network.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before if ".bn." in name)


def test_frozen_batch_norm_computes_by_its_statistics_in_training():
    network = CsnBackbone(NARROW, freeze_bn=True)
    with torch.no_grad():
        assert torch.equal(network.train()(a_clip())[-1], network.eval()(a_clip())[-1])


def test_memory_format_does_not_change_the_features():
    network = CsnBackbone(NARROW).eval()
    clip = a_clip()
    with torch.no_grad():
        plain = network(clip)
        last = copy.deepcopy(network).to(memory_format=torch.channels_last_3d)(
            clip.contiguous(memory_format=torch.channels_last_3d)
        )
    for one, other in zip(plain, last, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert last[0].is_contiguous(memory_format=torch.channels_last_3d)


def test_the_import_leaves_nothing_behind():
    """In a process of its own, since this one has imported the adapter long ago."""
    code = """
import sys, types
from mmaction.registry import MODELS
marker = types.ModuleType("mmaction.models")
sys.modules["mmaction.models"] = marker
from spine_models.models.csn import CsnSettings, CsnBackbone
CsnBackbone(CsnSettings("ir", 50, 8))
import mmaction
assert sys.modules["mmaction.models"] is marker
assert [name for name in sys.modules if name.startswith("mmaction.models")] == ["mmaction.models"]
assert not hasattr(mmaction, "models")
assert "ResNet3dCSN" not in MODELS.module_dict
"""
    subprocess.run([sys.executable, "-c", code], check=True)
