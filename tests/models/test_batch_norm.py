"""Batch norm: momentum under accumulation, statistics over processes."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from spine_models.models import batch_norm
from spine_models.models.batch_norm import (
    SynchronisedBatchNorm,
    adjust_momentum,
    batch_norms,
    freeze_parameters,
    synchronise,
)
from spine_models.models.csn import CsnBackbone, CsnSettings


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
    with pytest.raises(ValueError, match=f"^a step accumulates at least one micro-batch, not {accumulation}$"):
        adjust_momentum(nn.BatchNorm3d(2), accumulation)


def test_a_cumulative_average_has_no_momentum():
    with pytest.raises(ValueError, match=r"^a batch norm with a cumulative average has no momentum$"):
        adjust_momentum(nn.BatchNorm3d(2, momentum=None), 2)


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


def test_two_processes_with_the_same_samples_are_one_with_both(monkeypatch):
    """The formulas alone: what the processes exchange is doubled here; real processes are tested above."""
    monkeypatch.setattr(batch_norm.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(batch_norm.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(batch_norm, "_over_processes", lambda values: 2 * values)
    torch.manual_seed(0)
    plain = nn.BatchNorm3d(3, eps=0.1, momentum=0.3)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    image = torch.randn(2, 3, 2, 4, 5) * 3 + 1
    spread = SynchronisedBatchNorm.replacing(copy.deepcopy(plain))
    one, both = image.clone().requires_grad_(), torch.cat([image, image]).requires_grad_()
    result, expected = spread(one), plain(both)
    torch.testing.assert_close(result, expected[:2])
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(spread, name), getattr(plain, name))
    assert spread(image.half()).dtype == torch.float16
    weights = torch.randn_like(result)
    (result * weights).sum().backward()
    (expected * torch.cat([weights, weights])).sum().backward()
    torch.testing.assert_close(one.grad, both.grad[:2])
    spread.eval()
    plain.running_mean.copy_(spread.running_mean)
    plain.running_var.copy_(spread.running_var)
    torch.testing.assert_close(spread(image), plain.eval()(image))


def test_frozen_parameters_are_those_of_batch_norm_alone():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    freeze_parameters(network)
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, True, False, False]
