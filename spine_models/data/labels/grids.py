"""Whether two grids of voxels agree."""

from __future__ import annotations

import numpy as np

from spine_models.data.labels.header import Floats

EXACT_VOXELS = 0.05
"""Grids whose voxels are never further apart than this part of a voxel agree."""


def grid_difference(label_affine: Floats, affine: Floats, shape: tuple[int, int, int]) -> float:
    """Return how far voxels of a grid are from the nearest of the label's, at most, in label voxels (0: they agree).

    A grid whose axes are not those of the label map (up to order and direction) differs by at least half a voxel.
    """
    to_label: Floats = np.linalg.inv(label_affine) @ affine
    linear = to_label[:3, :3]
    steps = np.rint(linear)
    if not np.array_equal(np.count_nonzero(steps, axis=0), [1, 1, 1]):
        return 0.5
    drift = (np.abs(linear - steps) * (np.array(shape) - 1)).sum(axis=1)
    offset = np.abs(to_label[:3, 3] - np.rint(to_label[:3, 3]))
    return float((drift + offset).max())
