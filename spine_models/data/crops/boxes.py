"""Where the vertebrae of a mask are, and how many voxels each has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spine_models.levels import LEVELS

LevelStatus = Literal["visible", "interpolated", "missing"]

Box = tuple[int, int, int, int, int, int]
"""``(z0, z1, y0, y1, x0, x1)`` in voxels of the half grid, half-open."""


def level_boxes(mask: NDArray[np.uint8]) -> dict[str, Box]:
    """Return the tight box of each level that the mask shows.

    Args:
        mask: (z, y, x), voxel label ``i + 1`` for ``LEVELS[i]``, 0 elsewhere.
    """
    from scipy import ndimage

    found = ndimage.find_objects(mask, max_label=len(LEVELS))
    return {level: box_at((0, 0, 0), parts) for level, parts in zip(LEVELS, found, strict=True) if parts is not None}


def level_voxels(mask: NDArray[np.uint8]) -> dict[str, int]:
    """Return the voxel count of each level that the mask (any shape) shows."""
    counts = np.bincount(mask.ravel(), minlength=len(LEVELS) + 1)
    return {level: int(counts[i]) for i, level in enumerate(LEVELS, start=1) if counts[i]}


def box_slices(box: Box) -> tuple[slice, slice, slice]:
    """Return the index that cuts ``box`` out of an array on its grid."""
    z0, z1, y0, y1, x0, x1 = box
    return slice(z0, z1), slice(y0, y1), slice(x0, x1)


def corner_of(box: Box) -> tuple[int, int, int]:
    """Return the first voxel (z, y, x) of ``box``."""
    return box[0], box[2], box[4]


def box_at(corner: tuple[int, int, int], part: tuple[slice, slice, slice]) -> Box:
    """Return the box of ``part``, an index into an array whose first voxel is at ``corner``, on the corner's grid."""
    return box_from_json([at + edge for at, axis in zip(corner, part, strict=True) for edge in (axis.start, axis.stop)])


def box_from_json(values: Sequence[Any]) -> Box:
    """Read a box as a record stores it (a list of six integers)."""
    z0, z1, y0, y1, x0, x1 = (int(value) for value in values)
    return z0, z1, y0, y1, x0, x1


def union_of(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all of ``boxes`` (at least one)."""
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    return box_from_json([low[0], high[1], low[2], high[3], low[4], high[5]])
