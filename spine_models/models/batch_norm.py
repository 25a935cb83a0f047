"""Batch norm: frozen, adjusted to gradient accumulation and synchronised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.autograd.function import once_differentiable
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

M = TypeVar("M", bound=nn.Module)


def batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    """Iterate over the batch norms in ``module``, synchronised ones included."""
    return (part for part in module.modules() if isinstance(part, _BatchNorm))


def freeze(module: nn.Module) -> None:
    """Let every batch norm in ``module`` keep its statistics and affine parameters for good (``FrozenBatchNorm``)."""
    for norm in batch_norms(module):
        norm.requires_grad_(False)
        norm.__class__ = FrozenBatchNorm


class FrozenBatchNorm(nn.BatchNorm3d):
    """Batch norm that is never trained: ``x * scale + shift``, of which the backward pass needs only the scale.

    PyTorch's own keeps its input for the gradients of parameters that nobody asks for: half of what a training step
    of the interaction-preserved network would hold.
    """

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        """Stay in evaluation and return the module."""
        del mode
        super().train(False)
        return self

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, ...) by the running statistics."""
        result: torch.Tensor = _Frozen.apply(  # type: ignore[no-untyped-call]
            input, self.running_mean, self.running_var, self.weight, self.bias, self.eps
        )
        return result


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        eps: float,
    ) -> torch.Tensor:
        """Return the normalised input."""
        ctx.save_for_backward(variance, weight)
        ctx.eps = eps
        return functional.batch_norm(input, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient by the input: the same product in float32, without the shift."""
        variance, weight = ctx.saved_tensors
        zero = torch.zeros_like(variance)
        scaled = functional.batch_norm(gradient, zero, variance, weight, zero, False, 0.0, ctx.eps)
        return scaled, None, None, None, None, None


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

    Frozen ones stay as they are. Names of parameters and buffers do not change.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and child.training:
                setattr(parent, name, SynchronisedBatchNorm.replacing(child))
    return module


class SynchronisedBatchNorm(nn.BatchNorm3d):
    """Batch norm whose statistics in training are those of all processes.

    On GPUs it calls the kernels of PyTorch's own, which picks processes without samples by boolean indexing and waits
    for the device three times in each layer; here no process is without samples. On the CPU, which PyTorch's own
    refuses, the formulas are written out, so that two processes of a test compute what two GPUs do.
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
        if input.is_cuda:
            on_gpu: torch.Tensor = _OnGpu.apply(  # type: ignore[no-untyped-call]
                input, self.weight, self.bias, self.running_mean, self.running_var, self.eps, _momentum(self)
            )
            self._count()
            return on_gpu
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
        assert self.running_mean is not None and self.running_var is not None
        self.running_mean.lerp_(mean, _momentum(self))
        self.running_var.lerp_(variance, _momentum(self))
        self._count()

    def _count(self) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)


class _OnGpu(torch.autograd.Function):
    """PyTorch's ``torch.nn.modules._functions.SyncBatchNorm`` for processes that all have samples."""

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        running_mean: torch.Tensor,
        running_var: torch.Tensor,
        eps: float,
        momentum: float,
    ) -> torch.Tensor:
        """Return the normalised input, (N, C, ...), and update the running statistics."""
        input = input.contiguous()
        mean, invstd = torch.batch_norm_stats(input, eps)
        count = torch.full((1,), input.numel() // input.size(1), dtype=mean.dtype, device=mean.device)
        own = torch.cat([mean, invstd, count])
        parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, own)
        means, invstds, counts = torch.split(torch.stack(parts), [len(mean), len(mean), 1], dim=1)
        counts = counts.flatten()
        mean, invstd = torch.batch_norm_gather_stats_with_counts(
            input, means.contiguous(), invstds.contiguous(), running_mean, running_var, momentum, eps, counts
        )
        ctx.save_for_backward(input, weight, mean, invstd, counts.to(torch.int32))
        return torch.batch_norm_elemt(input, weight, bias, mean, invstd, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of input, weight and bias."""
        input, weight, mean, invstd, counts = ctx.saved_tensors
        gradient = gradient.contiguous()
        sum_dy, sum_dy_xmu, by_weight, by_bias = torch.batch_norm_backward_reduce(
            gradient, input, mean, invstd, weight, True, True, True
        )
        sums = torch.cat([sum_dy, sum_dy_xmu])
        distributed.all_reduce(sums)
        sum_dy, sum_dy_xmu = torch.split(sums, len(sum_dy))
        by_input = torch.batch_norm_backward_elemt(gradient, input, mean, invstd, weight, sum_dy, sum_dy_xmu, counts)
        return by_input, by_weight, by_bias, None, None, None, None


def _over_processes(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of ``values`` over all processes; its gradient is summed over them too."""
    total: torch.Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def _momentum(norm: _BatchNorm) -> float:
    if norm.momentum is None:
        raise ValueError("a batch norm with a cumulative average has no momentum")
    return norm.momentum
