"""Batch norm: momentum under accumulation, statistics over processes."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from spine_models.models import batch_norm
from spine_models.models.batch_norm import (
    SynchronisedBatchNorm,
    adjust_momentum,
    batch_norms,
    freeze,
    synchronise,
)
from spine_models.models.csn import CsnBackbone, CsnSettings
from tests.fake_tensors import Held


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


def a_norm(kind=torch.float32):
    torch.manual_seed(0)
    norm = nn.BatchNorm3d(6, eps=1e-3)
    for values in (norm.running_mean, norm.weight.data, norm.bias.data):
        values.normal_()
    norm.running_var.uniform_(0.1, 4.0)
    return norm.eval(), torch.randn(2, 6, 3, 4, 5).to(kind)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_frozen_computes_what_evaluation_does(kind):
    norm, image = a_norm(kind)
    found = []
    for _ in range(2):
        values = image.clone().requires_grad_(True)
        output = norm(values)
        output.backward(torch.ones_like(output) / 3)
        found.append((output, values.grad))
        freeze(norm)
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


def test_frozen_keeps_nothing_of_the_size_of_its_input():
    norm, image = a_norm()
    freeze(norm)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()), lambda _: None):
        norm(image.requires_grad_(True))
    assert kept
    assert max(kept) == 6


def test_frozen_stays_as_it_is_in_training():
    network = CsnBackbone(CsnSettings("ip", 50, 4), freeze_bn=True).train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    network(torch.randn(1, 3, 8, 32, 32))
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert not any(norm.training or norm.weight.requires_grad for norm in batch_norms(network))


@pytest.fixture
def two_processes():
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    distributed.destroy_process_group()


def test_the_synchronised_one_on_gpus_never_waits_for_the_device(two_processes, monkeypatch):
    """The kernels are stand-ins, since the CPU has none; counted is what is called around them."""

    def statistics(image, eps):
        return image.mean((0, 2, 3, 4)), (image.var((0, 2, 3, 4)) + eps).rsqrt()

    def gathered(image, means, *_):
        return means.mean(0), torch.ones_like(means[0])

    def reduced(gradient, *_):
        sums = gradient.sum((0, 2, 3, 4))
        return sums, sums.clone(), sums.clone(), sums.clone()

    monkeypatch.setattr(torch, "batch_norm_stats", statistics)
    monkeypatch.setattr(torch, "batch_norm_gather_stats_with_counts", gathered)
    monkeypatch.setattr(torch, "batch_norm_elemt", lambda image, *_: image.clone())
    monkeypatch.setattr(torch, "batch_norm_backward_reduce", reduced)
    monkeypatch.setattr(torch, "batch_norm_backward_elemt", lambda gradient, *_: gradient.clone())
    image, ones, zeros = torch.randn(2, 3, 4, 4, 4, requires_grad=True), torch.ones(3), torch.zeros(3)
    with Held() as held:
        batch_norm._OnGpu.apply(image, ones, zeros, zeros, ones, 1e-3, 0.1).sum().backward()
    waits = ("nonzero", "index.Tensor", "_local_scalar_dense", "masked_select")
    assert [name for name in held.operations if any(wait in name for wait in waits)] == []
    assert image.grad is not None


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


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    is_cuda = True


class Kernels:
    """What PyTorch's kernels for synchronised batch norm compute on a GPU, by their formulas."""

    @staticmethod
    def batch_norm_stats(image, eps):
        assert image.is_contiguous()
        return image.mean((0, 2, 3, 4)), (image.var((0, 2, 3, 4), correction=0) + eps).rsqrt()

    @staticmethod
    def batch_norm_gather_stats_with_counts(image, means, invstds, running_mean, running_var, momentum, eps, counts):
        assert means.is_contiguous() and invstds.is_contiguous()
        total, share = counts.sum(), (counts / counts.sum())[:, None]
        mean = (share * means).sum(0)
        variance = (share * (invstds**-2 - eps + (means - mean) ** 2)).sum(0)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * total / (total - 1), momentum)
        return mean, (variance + eps).rsqrt()

    @staticmethod
    def batch_norm_elemt(image, weight, bias, mean, invstd, eps):
        assert eps == 0.1
        return (image - of_channel(mean)) * of_channel(invstd * weight) + of_channel(bias)

    @staticmethod
    def batch_norm_backward_reduce(gradient, image, mean, invstd, weight, by_input, by_weight, by_bias):
        assert (by_input, by_weight, by_bias) == (True, True, True)
        assert gradient.is_contiguous()
        sums = gradient.sum((0, 2, 3, 4))
        of_distance = (gradient * (image - of_channel(mean))).sum((0, 2, 3, 4))
        return sums, of_distance, of_distance * invstd, sums.clone()

    @staticmethod
    def batch_norm_backward_elemt(gradient, image, mean, invstd, weight, sum_dy, sum_dy_xmu, counts):
        assert counts.dtype == torch.int32
        shared = sum_dy / counts.sum(), invstd**2 * sum_dy_xmu / counts.sum()
        centred = gradient - of_channel(shared[0]) - (image - of_channel(mean)) * of_channel(shared[1])
        return centred * of_channel(invstd * weight)


def of_channel(values):
    return values[:, None, None, None]


def test_on_gpus_two_processes_with_the_same_samples_are_one_with_both(monkeypatch):
    """All but the kernels themselves, which tests/gpu runs."""
    for name in vars(Kernels):
        if name.startswith("batch_norm"):
            monkeypatch.setattr(torch, name, getattr(Kernels, name))
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_gather", lambda parts, own: [part.copy_(own) for part in parts])
    monkeypatch.setattr(distributed, "all_reduce", lambda sums: sums.mul_(2))
    torch.manual_seed(0)
    plain = nn.BatchNorm3d(3, eps=0.1, momentum=0.3)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    image = torch.randn(2, 3, 2, 4, 5) * 3 + 1
    spread = SynchronisedBatchNorm.replacing(copy.deepcopy(plain))
    # Transposed in memory, as a layout that the kernels do not take.
    one, both = image.clone().requires_grad_(), torch.cat([image, image]).requires_grad_()
    result = spread(one.transpose(3, 4).contiguous().transpose(3, 4).as_subclass(OnGpu)).as_subclass(torch.Tensor)
    expected = plain(both)
    torch.testing.assert_close(result, expected[:2])
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(spread, name), getattr(plain, name))
    weights = torch.randn_like(result).transpose(3, 4).contiguous().transpose(3, 4)
    (result * weights).sum().backward()
    (expected * torch.cat([weights, weights])).sum().backward()
    torch.testing.assert_close(one.grad, both.grad[:2])
    for name in ("weight", "bias"):
        torch.testing.assert_close(2 * getattr(spread, name).grad, getattr(plain, name).grad)


def test_frozen_parameters_are_those_of_batch_norm_alone():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    freeze(network)
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, True, False, False]
