"""Three kinds of 3D convolution that PyTorch computes slowly on some devices, computed another way there.

With one CPU thread PyTorch gives convolutions of in-plane size 1 to an old kernel without channels-last layout.
Measured on one thread, a training step of the narrow networks takes 0.65 to 0.7 of the time this way, a prediction
half. On GPUs in half precision, cuDNN takes most of a segmentation step for the input's gradient of 1x3x3 convolutions.
Everywhere else these are plain ``Conv3d``; parameters and names always are.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from spine_models.models.depthwise import DepthwiseConv3d


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
        # Merged and split with the channels last, since a view invents the stride of a batch of one: by that stride
        # PyTorch takes the output for plain, and copies it in every later convolution, enlargement and concatenation.
        rows = input.movedim(1, -1).flatten(2, 3).movedim(-1, 1)
        output = functional.conv2d(rows, self.weight.squeeze(-1), self.bias, padding=(1, 0))
        voxels = output.movedim(1, -1)
        return voxels.reshape(*voxels.shape[:2], *input.shape[3:], -1).movedim(-1, 1)


class PlaneConv3d(nn.Conv3d):
    """A 1x3x3 convolution of stride 1 and padding 1 in the plane: on a GPU in half precision in 2D, slice by slice.

    Measured on an H200 with cuDNN 9.19 in bf16, a full-size training step of the segmentation takes 229 ms this way and
    913 ms by ``Conv3d`` (docs/performance.md).
    """

    def __init__(self, channels: int, filters: int) -> None:
        """Build it with PyTorch's initial weights."""
        super().__init__(channels, filters, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, Z, Y, X) to (N, filters, Z, Y, X)."""
        return self.by_slices(input) if _in_half_on_a_gpu(input) else super().forward(input)

    def by_slices(self, input: torch.Tensor) -> torch.Tensor:
        """Compute in 2D, with the slices of all images as one batch."""
        images, channels, slices, *plane = input.shape
        merged = input.transpose(1, 2).reshape(images * slices, channels, *plane)
        output = functional.conv2d(merged, self.weight.squeeze(2), self.bias, padding=1)
        return output.view(images, slices, -1, *plane).transpose(1, 2).contiguous()


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
    """Let each convolution in ``module`` that this package computes in a way of its own be PyTorch's."""
    for part in module.modules():
        if isinstance(part, PointwiseConv3d | AxialConv3d | PlaneConv3d | DepthwiseConv3d):
            part.__class__ = nn.Conv3d  # type: ignore[assignment]


def _on_one_cpu_thread(input: torch.Tensor) -> bool:
    return input.device.type == "cpu" and torch.get_num_threads() == 1


def _in_half_on_a_gpu(input: torch.Tensor) -> bool:
    if not input.is_cuda:
        return False
    kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else input.dtype
    return kind in (torch.float16, torch.bfloat16)
