"""Tensors without memory: shapes, types and lifetimes are real, values are not.

They say they are on the CPU, since a torch without CUDA computes no shapes of convolutions for a GPU. What is held is
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GIB = 2**30
N = TypeVar("N", bound=nn.Module)


class Held(TorchDispatchMode):
    """Counts the bytes of the tensors alive, those that were there before it included once an operation returns them.

    Attributes:
        peak: largest sum of bytes so far.
        operations: name of an operation to how often it ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._at_most = 0
        self.peak = 0
        self.operations: dict[str, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func)
        self.operations[name] = self.operations.get(name, 0) + 1
        for leaf in tree_leaves((args, result)):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                _, before = self._alive.get(storage._cdata, (None, 0))
                self._at_most += storage.nbytes() - before
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        # Those that died are looked for only where they decide: there can be thousands at each of thousands of steps.
        if self._at_most > self.peak:
            self._alive = {key: value for key, value in self._alive.items() if not value[0].expired()}
            self._at_most = sum(size for _, size in self._alive.values())
            self.peak = max(self.peak, self._at_most)
        return result


@contextmanager
def fake_tensors() -> Iterator[Held]:
    """Compute with fake tensors, which need no memory, and count what real ones would hold; make them inside."""
    with FakeTensorMode(), Held() as held:
        yield held


def with_fake_values(network: N) -> N:
    """Give ``network``, built on the device "meta", fake parameters and buffers, in place."""
    for part in network.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                values = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
                part._parameters[name] = nn.Parameter(values, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")
    return network
