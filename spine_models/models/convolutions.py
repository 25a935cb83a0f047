"""Two kinds of 3D convolution that PyTorch computes slowly on one CPU thread, computed another way there.

With one thread alone PyTorch gives convolutions of in-plane size 1 to an old kernel without channels-last layout.
Measured on one thread, a training step of the narrow networks takes 0.65 to 0.7 of the time this way, a prediction
half. With more threads and on other devices these are plain ``Conv3d``; parameters and names always are.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class PointwiseConv3d(nn.Conv3d):
    """A 1x1x1 convolution of stride 1 without groups: one matrix product over the voxels."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (N, in, Z, Y, X) to (N, out, Z, Y, X)."""
        if not _on_one_cpu_thread(input):
            return super().forward(input)
        voxels = input.permute(0, 2, 3, 4, 1)
        return functional.linear(voxels, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class AxialConv3d(nn.Conv3d):
    """A 3x1x1 convolution of stride 1 and padding 1 along z: in 2D, with each plane as one row."""

    def __init__(self, channels: int, filters: int) -> None:
        """Build it with PyTorch's initial weights."""
        super().__init__(channels, filters, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, Z, Y, X) to (N, filters, Z, Y, X)."""
        if not _on_one_cpu_thread(input):
            return super().forward(input)
        rows = functional.conv2d(input.flatten(3), self.weight.squeeze(-1), self.bias, padding=(1, 0))
        return rows.view(*rows.shape[:3], *input.shape[3:])


def use_pointwise(module: nn.Module) -> None:
    """Let each plain 1x1x1 convolution in ``module`` compute as ``PointwiseConv3d``, with the parameters it has."""
    for part in module.modules():
        if (
            isinstance(part, nn.Conv3d)
            and part.kernel_size == (1, 1, 1)
            and part.stride == (1, 1, 1)
            and part.groups == 1
        ):
            part.__class__ = PointwiseConv3d


def use_plain(module: nn.Module) -> None:
    """Let the convolutions of this module in ``module`` compute as on a GPU, with the parameters they have."""
    for part in module.modules():
        if isinstance(part, PointwiseConv3d | AxialConv3d):
            part.__class__ = nn.Conv3d  # type: ignore[assignment]


def _on_one_cpu_thread(input: torch.Tensor) -> bool:
    return input.device.type == "cpu" and torch.get_num_threads() == 1
