"""In-plane pooling of volumes."""

from __future__ import annotations

import torch
from torch import nn


class PlaneMaxPool(nn.MaxPool2d):
    """The maximum over windows in the plane, slice by slice, without a copy in either layout.

    Equal to ``MaxPool3d`` with windows of one slice, bit for bit. That one's backward pass adds up gradients by
    compare-and-swap in half precision on CUDA (PyTorch pull request 196156); the one in 2D gathers them.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (N, C, Z, Y, X) to (N, C, Z, y, x)."""
        n, c, z = input.shape[:3]
        if input.is_contiguous():
            planes: torch.Tensor = super().forward(input.flatten(1, 2))
            return planes.view(n, c, z, *planes.shape[2:])
        slices: torch.Tensor = super().forward(input.transpose(1, 2).flatten(0, 1))
        return slices.view(n, z, c, *slices.shape[2:]).transpose(1, 2)
