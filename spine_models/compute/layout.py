"""The order of the numbers of images and kernels in memory: one rule for each kind of device."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

T = TypeVar("T", torch.Tensor, nn.Module)


def arrange(what: T, device: torch.device) -> T:
    """Bring images (N, C, Z, Y, X), or a network's kernels in place, to ``device`` and into the layout for it.

    Channels last doubles the speed of these networks on the CPU. On CUDA it sends depthwise 3D convolutions to cuDNN,
    which makes a step of the segmentation twice and of the classifiers six times as long as the plain layout does
    (measured on an H200, docs/performance.md), so that images and kernels keep that one there.
    """
    moved = what.to(device)
    if device.type != "cpu":
        return moved
    if isinstance(moved, torch.Tensor):
        return moved.contiguous(memory_format=torch.channels_last_3d)
    return moved.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]
