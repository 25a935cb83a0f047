"""What goes wrong on GPUs, told by networks on the CPU: half precision that overflows, memory that runs out.

The hardware's answer is made up; what a stage makes of it is real.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from spine_models.compute import inference_network
from spine_models.compute.inference_network import InferenceNetwork


def overflowing(monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...] = ("fp16",)) -> None:
    """Let every network choose fp16, with an infinite output in ``wrong`` and float32's values otherwise."""
    own = InferenceNetwork.logits

    def logits(self: InferenceNetwork, images: torch.Tensor, precision: Any = None) -> torch.Tensor:
        values = own(self, images, "fp32")
        return values + float("inf") if (precision or self.precision) in wrong else values

    monkeypatch.setattr(inference_network, "choose_precision", lambda *_: "fp16")
    monkeypatch.setattr(InferenceNetwork, "logits", logits)


def out_of_memory(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Let memory run out in the method ``where`` of every network."""

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(InferenceNetwork, where, fail)
