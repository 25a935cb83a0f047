"""A CSN's stem and blocks for predictions on the CPU: oneDNN adds bias and residual and rectifies inside the products.

Apart from them, these passes over memory and the copies around matrix products take a third of a prediction. The
operators are those that ``torch.compile`` puts in place of folded convolutions. They know no gradient: with gradients,
under autocast, on GPUs and in types that oneDNN does not serve here, stem and blocks compute as they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

_SLOPE = 1e-30
"""Of the ReLU for numbers below 0. With a slope of 0 oneDNN's own makes 0 of NaN: damaged weights would go unseen."""
Same = Sequence[Sequence[int]]
"""Groups of input channels that are expected to hold the same image; each channel is in one of them."""


class FusedStem(nn.Module):
    """The folded stem, which takes an image once that several channels hold, with the sum of their weights."""

    merged: torch.Tensor

    def __init__(self, stem: Any, same: Same) -> None:
        """Take a convolution with its ReLU (an mmcv ``ConvModule``), which stays inside with its names."""
        super().__init__()
        self.stem = stem
        self._same = same
        weight = stem.conv.weight.detach()
        merged = torch.stack([weight[:, list(channels)].sum(dim=1) for channels in same], dim=1)
        self.register_buffer("merged", merged, persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map (N, C, Z, Y, X) to the stem's output."""
        if not _served(image):
            return self.stem(image)  # type: ignore[no-any-return]
        if not all(torch.equal(image[:, first], image[:, other]) for first, *rest in self._same for other in rest):
            return _convolved(image, self.stem)
        once = torch.stack([image[:, first] for first, *_ in self._same], dim=-1).movedim(-1, 1)
        return _convolved(once, self.stem, self.merged)


class FusedBlock(nn.Module):
    """A folded bottleneck block; without a shortcut of its own it overwrites its input with its output."""

    def __init__(self, block: Any) -> None:
        """Take mmaction2's ``CSNBottleneck3d``, which stays inside with its names."""
        super().__init__()
        self.block = block
        self._finite = all(_finite(parameter) for parameter in block.parameters())

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Map (N, C, Z, Y, X) to the block's output."""
        if not (self._finite and _served(value)):
            return self.block(value)  # type: ignore[no-any-return]
        hidden = _convolved(value, self.block.conv1)
        for part in self.block.conv2:
            hidden = _convolved(hidden, part)
        shortcut = self.block.downsample
        residual = value if shortcut is None else _convolved(value, shortcut)
        # The sum knows only the ReLU that makes 0 of NaN.
        if not (_finite(hidden) and (shortcut is None or _finite(residual))):
            return self.block(value)  # type: ignore[no-any-return]
        last = self.block.conv3.conv
        return torch.ops.mkldnn._convolution_pointwise_.binary(  # type: ignore[no-any-return]
            residual, hidden, last.weight, last.bias, *_how(last), "add", 1.0, "relu", [], ""
        )


def _finite(values: torch.Tensor) -> bool:
    """Say whether all are; by their sum, which takes a fraction of the time and is as large only by overflow."""
    return bool(torch.isfinite(values.sum(dtype=torch.float32)))


def _convolved(value: torch.Tensor, part: Any, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Return the convolution of an mmcv ``ConvModule``, with its ReLU if it has one."""
    convolution = part.conv
    weight = convolution.weight if weight is None else weight
    rectify = ("leaky_relu", [_SLOPE]) if part.with_activation else ("none", [])
    return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
        value, weight, convolution.bias, *_how(convolution), *rectify, ""
    )


def _how(convolution: nn.Conv3d) -> tuple[Any, ...]:
    return convolution.padding, convolution.stride, convolution.dilation, convolution.groups


def _served(value: torch.Tensor) -> bool:
    if value.device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # oneDNN refuses bf16 on CPUs that have no instruction for it.
    in_half = value.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return value.dtype == torch.float32 or in_half
