"""Mirrored copies of an input, whose probabilities are averaged with those of the input itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch

Flip = Literal["none", "horizontal"]

NO_FLIP: tuple[Flip, ...] = ("none",)
AXES: dict[Flip, tuple[int, ...]] = {"none": (), "horizontal": (-1,)}
"""Axes of (..., Z, Y, X) that a flip turns over; the last one runs from the patient's right to the left."""


def flipped(value: torch.Tensor, flip: Flip) -> torch.Tensor:
    """Turn over the axes of ``flip``; twice gives ``value`` again."""
    return torch.flip(value, AXES[flip]) if AXES[flip] else value


def mean_over_flips(
    image: torch.Tensor, flips: Sequence[Flip], probabilities: Callable[[torch.Tensor], torch.Tensor], *, spatial: bool
) -> torch.Tensor:
    """Return the mean of what ``probabilities`` gives for each flip of ``image``.

    Args:
        image: (..., Z, Y, X).
        flips: at least one.
        probabilities: of an image.
        spatial: True if the probabilities are of voxels, and have to be turned back.
    """

    def turned_back(flip: Flip) -> torch.Tensor:
        found = probabilities(flipped(image, flip))
        return flipped(found, flip) if spatial else found

    total = turned_back(flips[0])
    for flip in flips[1:]:
        total += turned_back(flip)
    return total.div_(len(flips))
