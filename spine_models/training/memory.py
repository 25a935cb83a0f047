"""How much memory a training step needs, from the tensors that autograd keeps.

Nothing is computed: with ``FakeTensorMode``, tensors have shapes, types and lifetimes, and no values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

_FLOAT32_BYTES = 4
_ADAM_COPIES = 4
"""Weights, gradients and AdamW's two moments."""


@dataclass
class Unit:
    """What one part of a network leaves for the backward pass.

    Attributes:
        saved: bytes that autograd keeps inside of it.
        input: bytes of what goes into it: all that activation checkpointing keeps.
        output: bytes of what comes out of it, an upper bound of a gradient in flight.
    """

    saved: int = 0
    input: int = 0
    output: int = 0


@dataclass
class Step:
    """The memory of one training step, part by part.

    Attributes:
        units: the parts that activation checkpointing runs again, in order.
        rest: bytes kept outside of them (head, loss).
        parameters: numbers that are trained.
        casts: bytes of the weights' copies in half precision, which do not grow with the image.
    """

    units: list[Unit] = field(default_factory=list)
    rest: int = 0
    parameters: int = 0
    casts: int = 0

    def activations(self, checkpointing: bool) -> int:
        """Return the bytes of activations at the peak of the backward pass, at the measured size."""
        in_flight = 2 * max((unit.output for unit in self.units), default=0)
        if checkpointing:
            kept = sum(unit.input for unit in self.units)
            return kept + max((unit.saved for unit in self.units), default=0) + self.rest + in_flight
        return sum(unit.saved for unit in self.units) + self.rest + in_flight

    def fixed(self) -> int:
        """Return the bytes of weights, gradients, moments and copies."""
        return _ADAM_COPIES * _FLOAT32_BYTES * self.parameters + self.casts


def measure_step(
    network: nn.Module, units: list[nn.Module], forward: Callable[[], torch.Tensor], half: torch.dtype | None
) -> Step:
    """Run ``forward`` once and count what it leaves for the backward pass.

    A storage counts once, where it was kept first; parameters do not count.

    Args:
        network: in training mode, on the CPU; of real or of fake tensors.
        units: the parts of it that activation checkpointing runs again.
        forward: computes the loss.
        half: type of autocast; None computes in float32.
    """
    step = Step(parameters=sum(parameter.numel() for parameter in network.parameters()))
    # By the storage itself, since fake ones have no address; held, so that no other one can take its place.
    known = {tensor.untyped_storage()._cdata: tensor for tensor in [*network.parameters(), *network.buffers()]}
    weights = {parameter.shape for parameter in network.parameters()}
    current: list[Unit] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            known[storage._cdata] = tensor
            if tensor.dtype == half and tensor.shape in weights:
                step.casts += storage.nbytes()
            elif current:
                current[-1].saved += storage.nbytes()
            else:
                step.rest += storage.nbytes()
        return tensor

    with _attributed(units, step, current), saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", half, enabled=half is not None):
            loss = forward()
        del loss
    return step


@contextmanager
def _attributed(units: list[nn.Module], step: Step, current: list[Unit]) -> Iterator[None]:
    """Let ``current`` end with the unit that computes, and ``step`` collect all of them."""

    def enter(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        current.append(Unit(input=sum(_bytes(value) for value in inputs)))

    def leave(_module: nn.Module, _inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        unit = current.pop()
        unit.output = _bytes(output)
        step.units.append(unit)

    handles = [unit.register_forward_pre_hook(enter) for unit in units]
    handles += [unit.register_forward_hook(leave) for unit in units]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _bytes(value: torch.Tensor) -> int:
    return value.numel() * value.element_size()
