"""Batch norm: frozen, adjusted to gradient accumulation and synchronised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

M = TypeVar("M", bound=nn.Module)


def batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    """Iterate over the batch norms in ``module``, synchronised ones included."""
    return (part for part in module.modules() if isinstance(part, _BatchNorm))


def freeze_parameters(module: nn.Module) -> None:
    """Take the affine parameters of every batch norm in ``module`` out of the training."""
    for norm in batch_norms(module):
        norm.requires_grad_(False)


def adjust_momentum(module: nn.Module, accumulation: int) -> None:
    """Make the running statistics forget as fast a step as without gradient accumulation.

    With ``a`` micro-batches a step the statistics are updated ``a`` times. The momentum ``m`` becomes
    ``1 - (1 - m) ** (1 / a)``, so that after a step the old statistics weigh ``1 - m``, as they do for ``a = 1``.
    Call it once on a freshly built module.

    Raises:
        ValueError: if ``accumulation`` is below 1 or a batch norm averages cumulatively (no momentum).
    """
    if accumulation < 1:
        raise ValueError(f"a step accumulates at least one micro-batch, not {accumulation}")
    for norm in batch_norms(module):
        norm.momentum = 1.0 - (1.0 - _momentum(norm)) ** (1.0 / accumulation)


def synchronise(module: M) -> M:
    """Replace, in place, each batch norm in ``module`` that is in training by one with statistics of all processes.

    For processes on the CPU; on GPUs PyTorch's own ``SyncBatchNorm.convert_sync_batchnorm`` does it faster.
    Frozen ones (in evaluation) stay as they are. Names of parameters and buffers do not change.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and child.training:
                setattr(parent, name, SynchronisedBatchNorm.replacing(child))
    return module


class SynchronisedBatchNorm(nn.BatchNorm3d):
    """The formulas of PyTorch's synchronised batch norm on differentiable all-reduces, for the CPU.

    PyTorch's own, and ``DistributedDataParallel`` with it, refuse the CPU; with this one two processes of a test
    compute what two GPUs do.
    """

    @classmethod
    def replacing(cls, norm: _BatchNorm) -> SynchronisedBatchNorm:
        """Return a synchronised batch norm that shares the parameters and buffers of ``norm``."""
        result = cls(norm.num_features, norm.eps, _momentum(norm))
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(result, name, getattr(norm, name))
        return result.train(norm.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, ...) by the statistics of all processes in training, by the running ones otherwise."""
        spread = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        if not (self.training and spread):
            return super().forward(input)
        shape = (1, -1, *[1] * (input.ndim - 2))
        over = [axis for axis in range(input.ndim) if axis != 1]
        values = input.float()
        count = torch.full((1,), float(values[:, 0].numel()), dtype=values.dtype)
        sums = _over_processes(torch.cat([values.sum(over), count]))
        count = sums[-1:].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = _over_processes(centred.square().sum(over)) / count
        self._update(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        normalised = centred * scale.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)

    def _update(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, _momentum(self))
        self.running_var.lerp_(variance, _momentum(self))
        self.num_batches_tracked.add_(1)


def _over_processes(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of ``values`` over all processes; its gradient is summed over them too."""
    total: torch.Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def _momentum(norm: _BatchNorm) -> float:
    if norm.momentum is None:
        raise ValueError("a batch norm with a cumulative average has no momentum")
    return norm.momentum
