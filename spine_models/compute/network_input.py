"""What networks see, made on their device of what travels there: HU and levels as they are stored."""

from __future__ import annotations

import torch


def standardised(image: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return ``(image - mean) / std`` in float32, the same bits on every device.

    Args:
        image: (N, Z, Y, X) HU.
        mean: (N,), of each image's half volume in HU, on the same device.
        std: (N,), of each image's half volume in HU, above 0. No number: CUDA would multiply by its reciprocal.
    """
    mean, std = (value.to(torch.float32)[:, None, None, None] for value in (mean, std))
    return (image - mean).div_(std)


def classifier_input(image: torch.Tensor, mask: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return the three channels of crops, (N, 3, Z, Y, X): the standardised image twice, and the levels as numbers.

    Args:
        image: see ``standardised``.
        mask: (N, Z, Y, X), 0 to 7.
        mean: see ``standardised``.
        std: see ``standardised``.
    """
    seen = standardised(image, mean, std)
    return torch.stack([seen, seen, mask.to(torch.float32)], dim=1)
