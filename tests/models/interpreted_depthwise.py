"""The depthwise kernels in Triton's interpreter (TRITON_INTERPRET=1), on the CPU, against PyTorch in float64."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.nn import functional
from triton.runtime import interpreter

from spine_models.models import depthwise_kernels
from spine_models.models.depthwise_kernels import Tile, convolve, image_gradient, weight_gradient

CASES = (
    # Size (z, y, x), stride, type, bound of the error.
    ((3, 3, 6), 1, torch.float32, 1e-6),
    ((3, 3, 6), 2, torch.float32, 1e-6),
    ((2, 4, 5), 2, torch.bfloat16, 1e-2),
    ((1, 1, 1), 1, torch.bfloat16, 1e-2),
)


def main() -> None:
    _let_numpy_index()
    # Tiles smaller than a plane, and programs that share a volume.
    depthwise_kernels._WIDEST = 4
    depthwise_kernels._PLANES = 2
    for size, stride, kind, bound in CASES:
        _check(size, stride, kind, bound)
        sys.stdout.write(f"{size}, stride {stride}, {kind}: as in float64\n")


def _check(size: tuple[int, ...], stride: int, kind: torch.dtype, bound: float) -> None:
    torch.manual_seed(0)
    image, weight = (torch.randn(shape).to(kind) for shape in ((1, 2, *size), (2, 1, 3, 3, 3)))
    wide = [tensor.double().requires_grad_() for tensor in (image, weight)]
    exact = functional.conv3d(*wide, None, stride, 1, groups=2)
    gradient = torch.randn(exact.shape).to(kind)
    tile = Tile(8, 1)
    by_image, by_weight = torch.autograd.grad(exact, wide, gradient.double())
    pairs = [
        (image_gradient(gradient, weight, image.shape, stride, tile), by_image),
        (weight_gradient(gradient, image, stride, tile), by_weight),
    ]
    if stride == 1:
        pairs.append((convolve(image, weight, tile=tile), exact.detach()))
    for one, other in pairs:
        error = float((one.double() - other).norm() / other.norm())
        if not error < bound:
            raise AssertionError(f"{size}, stride {stride}, {kind}: {error}")


def _let_numpy_index() -> None:
    """Let the interpreter count with numpy 2.4 and later, which make no int of an array of one number."""
    patch = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched


if __name__ == "__main__":
    main()
