"""Overlap of a predicted mask with a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spine_models.levels import IGNORE_LABEL, LEVELS

MIN_VOXELS = 10
"""A level counts from this many voxels of the label on (the published code's validation): of less, cut off by the
volume's end, Dice is chance."""


def dice_per_level(mask: NDArray[np.uint8], label: NDArray[np.uint8]) -> dict[str, float]:
    """Return Dice = 2 |A and B| / (|A| + |B|) for each level of which the label holds ``MIN_VOXELS``.

    Args:
        mask: predicted levels, uint8 0..7, (z, y, x).
        label: true levels on the same grid; voxels of 255 count for neither.

    Returns:
        Level name to Dice; a level of which the label holds less has no entry, predicted or not.

    Raises:
        ValueError: if the shapes differ.
    """
    if mask.shape != label.shape:
        raise ValueError(f"mask {mask.shape} and label {label.shape} lie on different grids")
    known = label != IGNORE_LABEL
    bins = len(LEVELS) + 1
    truth = np.bincount(label[known], minlength=bins)
    predicted = np.bincount(mask[known], minlength=bins)
    common = np.bincount(label[known & (mask == label)], minlength=bins)
    return {
        level: float(2 * common[value] / (truth[value] + predicted[value]))
        for value, level in enumerate(LEVELS, start=1)
        if truth[value] >= MIN_VOXELS
    }


def mean_dice(studies: list[dict[str, float]]) -> float | None:
    """Return the mean over studies of each study's mean over its levels; None where no study shows a level."""
    means = [float(np.mean(list(levels.values()))) for levels in studies if levels]
    return float(np.mean(means)) if means else None


def mean_dice_per_level(studies: list[dict[str, float]]) -> dict[str, float | None]:
    """Return each level's mean over the studies that show it; None for a level that none shows."""
    found = {level: [study[level] for study in studies if level in study] for level in LEVELS}
    return {level: float(np.mean(values)) if values else None for level, values in found.items()}
