"""Activation checkpointing that leaves the statistics of batch norm as one forward pass makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_checkpointed(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """Run ``module``, keep only its inputs and compute its activations again in the backward pass.

    The second computation runs on copies of the module's buffers, so that running means, variances and batch
    counts are updated once; gradients and statistics equal those of a plain call bit for bit. The module must not
    draw random numbers.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _buffers_kept(module)

    result: torch.Tensor = checkpoint(
        module, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
    )
    return result


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    owned = [(part, name, buffer) for part in module.modules() for name, buffer in part.named_buffers(recurse=False)]
    for part, name, buffer in owned:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in owned:
            setattr(part, name, buffer)
