"""Depthwise 3x3x3 convolutions, which PyTorch computes far from a GPU's bandwidth in training, by kernels of Triton.

Measured on an H200, a training step of the classifiers takes 0.64 to 0.72 of the time this way. Elsewhere, in a
prediction, and for anything that the kernels do not serve, these are plain ``Conv3d``; parameters and names always are.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spine_models.log import say

_STRIDES = ((1, 1, 1), (2, 2, 2))
_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_OLDEST = (8, 0)
"""Compute capability of the oldest GPUs that Triton supports."""


class DepthwiseConv3d(nn.Conv3d):
    """A 3x3x3 convolution of each channel by itself, with padding 1 and stride 1 or 2 in each direction."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (N, C, Z, Y, X) to (N, C, z, y, x), in the type of autocast."""
        kernels = _kernels(input.device.index) if self._served(input) else None
        if kernels is None:
            return super().forward(input)
        kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else input.dtype
        output: torch.Tensor = _Depthwise.apply(  # type: ignore[no-untyped-call]
            input.to(kind), self.weight.to(kind).contiguous(), self.stride[0], kernels
        )
        return output

    def _served(self, input: torch.Tensor) -> bool:
        # A prediction gains nothing, and would wait for Triton to compile.
        return (
            input.is_cuda
            and torch.is_grad_enabled()
            and self.bias is None
            and input.is_contiguous()
            and input.dtype in _TYPES
            and input.numel() > 0
        )


class _Depthwise(torch.autograd.Function):
    """The convolution and its gradients by ``depthwise_kernels``."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, weight: torch.Tensor, stride: int, kernels: ModuleType) -> torch.Tensor:
        """Return the convolution of ``image`` (N, C, Z, Y, X) with ``weight`` (C, 1, 3, 3, 3), of the same type."""
        ctx.save_for_backward(image, weight)
        ctx.stride, ctx.kernels = stride, kernels
        # PyTorch's own kernel is the faster one with stride 2; its gradients are not.
        if stride == 2:
            return functional.conv3d(image, weight, None, 2, 1, groups=len(weight))
        output: torch.Tensor = kernels.convolve(image, weight)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients by the image and the weights."""
        image, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        by_image = by_weight = None
        if ctx.needs_input_grad[0]:
            by_image = ctx.kernels.image_gradient(gradient, weight, image.shape, ctx.stride)
        if ctx.needs_input_grad[1]:
            by_weight = ctx.kernels.weight_gradient(gradient, image, ctx.stride).to(weight.dtype)
        return by_image, by_weight, None, None


def use_depthwise(module: nn.Module) -> None:
    """Let each plain depthwise 3x3x3 convolution in ``module`` be a ``DepthwiseConv3d``, with the parameters it has."""
    for part in module.modules():
        if (
            isinstance(part, nn.Conv3d)
            and part.kernel_size == (3, 3, 3)
            and part.stride in _STRIDES
            and part.padding == (1, 1, 1)
            and part.dilation == (1, 1, 1)
            and part.padding_mode == "zeros"
            and part.groups == part.in_channels == part.out_channels
        ):
            part.__class__ = DepthwiseConv3d


@cache
def _kernels(index: int) -> ModuleType | None:
    """Return the module of the kernels if they run on this GPU, where they are tried once."""
    if torch.cuda.get_device_capability(index) < _OLDEST or importlib.util.find_spec("triton") is None:
        return None
    try:
        from spine_models.models import depthwise_kernels

        one = torch.ones(1, 1, 1, 1, 1, device=torch.device("cuda", index))
        depthwise_kernels.convolve(one, torch.ones(1, 1, 3, 3, 3, device=one.device))
    # Triton compiles, with a C compiler of the machine and into a cache in the home folder: both may be missing.
    except Exception as error:
        say(f"Triton does not work here ({type(error).__name__}): depthwise convolutions take PyTorch's slower kernels")
        return None
    return depthwise_kernels
