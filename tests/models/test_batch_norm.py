"""Batch norm: momentum under accumulation, statistics over processes, folding for inference."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from spine_models.models.batch_norm import (
    SynchronisedBatchNorm,
    adjust_momentum,
    batch_norms,
    fold_batch_norm,
    synchronise,
)
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.csn import CsnBackbone, CsnSettings
from spine_models.models.unet import CsnUNet, UNetSettings

NARROW = UNetSettings(base_channels=8, decoder_channels=(8, 8, 8, 8, 4))


@pytest.mark.parametrize("accumulation", [1, 2, 4, 16])
def test_old_statistics_weigh_the_same_after_a_step_of_any_accumulation(accumulation):
    norm = nn.BatchNorm3d(2)
    adjust_momentum(norm, accumulation)
    norm.running_mean.fill_(10.0)
    for _ in range(accumulation):
        norm(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1, 1).expand(2, 2, 1, 1, 1))
    torch.testing.assert_close(norm.running_mean, torch.full((2,), 9.0))


def test_momentum_is_adjusted_everywhere():
    network = CsnBackbone(CsnSettings("ir", 50, 8))
    adjust_momentum(network, 4)
    assert {round(norm.momentum, 12) for norm in batch_norms(network)} == {round(1 - 0.9**0.25, 12)}


@pytest.mark.parametrize("accumulation", [0, -1])
def test_impossible_accumulation(accumulation):
    with pytest.raises(ValueError, match="micro-batch"):
        adjust_momentum(nn.BatchNorm3d(2), accumulation)


def test_a_cumulative_average_has_no_momentum():
    with pytest.raises(ValueError, match="momentum"):
        adjust_momentum(nn.BatchNorm3d(2, momentum=None), 2)


def randomised(network: nn.Module) -> nn.Module:
    """Give every batch norm statistics and affine parameters far from their start."""
    torch.manual_seed(0)
    for norm in batch_norms(network):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.2)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (CsnUNet(NARROW), (1, 1, 8, 32, 32)),
        (CsnClassifier(ClassifierSettings("ir", 50, 8)), (2, 3, 8, 32, 32)),
        (CsnClassifier(ClassifierSettings("ip", 152, 8)), (2, 3, 8, 32, 32)),
    ],
    ids=["unet", "ir-50", "ip-152"],
)
def test_a_folded_network_computes_the_same(network, shape):
    randomised(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert not list(batch_norms(folded))
    image = torch.randn(shape)
    with torch.no_grad():
        expected, got = network(image), folded(image)
    assert (expected - got).abs().max() < 1e-5 * expected.abs().max()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_folding_keeps_the_memory_format():
    network = CsnClassifier(ClassifierSettings("ir", 50, 8)).eval().to(memory_format=torch.channels_last_3d)
    weight = fold_batch_norm(network).backbone.conv1.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_network_in_training_is_not_folded():
    with pytest.raises(ValueError, match="eval"):
        fold_batch_norm(CsnUNet(NARROW))


def test_a_batch_norm_without_a_convolution_is_not_folded():
    with pytest.raises(ValueError, match="convolution"):
        fold_batch_norm(nn.Sequential(nn.BatchNorm3d(2)).eval())


def test_two_processes_compute_what_one_does(tmp_path):
    """Outputs, gradients and running statistics of a batch split 3 + 1 over two processes."""
    script = Path(__file__).with_name("synchronised_step.py")
    ranks = [subprocess.Popen([sys.executable, script, str(rank), tmp_path]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))

    namespace = {"__name__": "synchronised_step"}
    exec(script.read_text(encoding="utf-8"), namespace)
    alone = namespace["a_step"](namespace["a_network"](), namespace["a_batch"]())
    torch.testing.assert_close(torch.cat([first["output"], second["output"]]), alone["output"], rtol=1e-4, atol=1e-4)
    for name, expected in alone.items():
        if name.startswith("gradient"):
            torch.testing.assert_close(first[name] + second[name], expected, rtol=1e-4, atol=2e-3)
        elif name != "output":
            torch.testing.assert_close(first[name], expected, rtol=1e-5, atol=1e-6)
            assert torch.equal(first[name], second[name])


def test_synchronising_keeps_names_parameters_and_eps():
    network = CsnBackbone(CsnSettings("ir", 50, 8))
    before = dict(network.named_parameters())
    state = list(network.state_dict())
    assert synchronise(network) is network
    assert list(network.state_dict()) == state
    assert all(parameter is before[name] for name, parameter in network.named_parameters())
    assert {(type(norm), norm.eps, norm.training) for norm in batch_norms(network)} == {
        (SynchronisedBatchNorm, 1e-3, True)
    }


def test_frozen_batch_norm_is_not_synchronised():
    network = synchronise(CsnBackbone(CsnSettings("ip", 50, 8), freeze_bn=True))
    assert not any(isinstance(norm, SynchronisedBatchNorm) for norm in batch_norms(network))


def test_one_process_alone_computes_plain_batch_norm():
    torch.manual_seed(0)
    image = torch.randn(2, 3, 8, 32, 32)
    network = CsnBackbone(CsnSettings("ir", 50, 8))
    plain = network(image)[-1]
    network.zero_grad()
    assert torch.equal(synchronise(network)(image)[-1], plain)
