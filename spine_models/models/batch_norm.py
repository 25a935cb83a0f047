"""Batch norm: frozen, adjusted to gradient accumulation, folded into the convolutions for inference."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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
        if norm.momentum is None:
            raise ValueError("a batch norm with a cumulative average has no momentum to adjust")
        norm.momentum = 1.0 - (1.0 - norm.momentum) ** (1.0 / accumulation)
