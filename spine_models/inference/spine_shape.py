"""Which way the vertebrae of a mask point, and how far apart they are: what tells turned studies from upright ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.boxes import Box, box_slices
from spine_models.levels import LEVELS

_BONE_LIMITS_HU = (0, 600)
"""Beyond these all is the same: marrow is not more symmetrical than its shell, and metal is not bone."""
_LEAST_PIXELS = 8
"""Of a level in a slice: fewer say nothing about symmetry."""


@dataclass(frozen=True)
class SpineShape:
    """What the vertebrae say about directions; a number is None where the mask does not tell.

    Attributes:
        left_right: how much the vertebrae resemble their mirror image, left for right; 1 is the same.
        front_back: the same, front for back.
        fall: how far the back of a vertebra is below its front, as part of their distance, along the spine. The
            spinous processes of a neck point downwards, so that it is positive.
        tail: skewness of a vertebra from front to back: its body is in front, its thin process far behind, so that it
            is positive.
        step_mm: from the centre of a level to that of the next, along the spine, on average.
    """

    left_right: float | None
    front_back: float | None
    fall: float | None
    tail: float | None
    step_mm: float | None


def spine_shape(
    half: NDArray[np.int16],
    mask: NDArray[np.uint8],
    boxes: Mapping[str, Box],
    levels: Sequence[str],
    spacing_mm: Sequence[float],
) -> SpineShape:
    """Measure the vertebrae of a mask.

    Args:
        half: (z, y, x) HU on the half grid, z from superior to inferior, y from front to back.
        mask: the same shape, uint8 levels.
        boxes: of the levels, on that grid.
        levels: which to look at, from top to bottom, each in ``boxes``.
        spacing_mm: (z, y, x) of the grid.
    """
    points = [_points_mm(mask, boxes[level], level, spacing_mm) for level in levels]
    symmetry = _symmetry(half, mask, boxes, levels)
    if len(levels) < 2:
        return SpineShape(*symmetry, None, None, None)
    centres = np.array([level_points.mean(axis=0) for level_points in points])
    down = _direction(centres)
    # The ring of C1 has neither a body nor a spinous process.
    offsets = [at - at.mean(axis=0) for level, at in zip(levels, points, strict=True) if level != LEVELS[0]]
    # Without depth there is no front and no back.
    offsets = [of_level for of_level in offsets if of_level[:, 1].any()]
    return SpineShape(
        *symmetry,
        fall=float(np.mean([_fall(of_level, down) for of_level in offsets])) if offsets else None,
        tail=float(np.mean([_skewness(of_level[:, 1]) for of_level in offsets])) if offsets else None,
        step_mm=float((centres[-1] - centres[0]) @ down) / (LEVELS.index(levels[-1]) - LEVELS.index(levels[0])),
    )


def _points_mm(mask: NDArray[np.uint8], box: Box, level: str, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return where the voxels of a level are, (N, 3) in millimetres."""
    inside = np.argwhere(mask[box_slices(box)] == LEVELS.index(level) + 1)
    return np.asarray((inside + np.array(box[::2])) * np.asarray(spacing_mm))


def _direction(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the line through the centres, as a unit vector that points down."""
    line = np.linalg.svd(centres - centres.mean(axis=0))[2][0]
    return np.asarray(line if line[0] >= 0 else -line)


def _fall(offsets: NDArray[np.float64], down: NDArray[np.float64]) -> float:
    behind = offsets[:, 1] > 0
    front_to_back = offsets[behind].mean(axis=0) - offsets[~behind].mean(axis=0)
    return float(front_to_back @ down / np.linalg.norm(front_to_back))


def _skewness(offsets: NDArray[np.float64]) -> float:
    return float((offsets**3).mean() / (offsets**2).mean() ** 1.5)


def _symmetry(
    half: NDArray[np.int16], mask: NDArray[np.uint8], boxes: Mapping[str, Box], levels: Sequence[str]
) -> tuple[float | None, float | None]:
    """Return the likeness of the bone in each slice to its mirror images, left for right and front for back."""
    found, weights = [], []
    for level in levels:
        inside = box_slices(boxes[level])
        of_level = mask[inside] == LEVELS.index(level) + 1
        bone = np.where(of_level, np.clip(half[inside], *_BONE_LIMITS_HU), 0).astype(float)
        for plane, pixels in zip(bone, of_level.sum(axis=(1, 2)), strict=True):
            if pixels >= _LEAST_PIXELS and plane.any():
                found.append((_likeness(plane.T), _likeness(plane)))
                weights.append(pixels)
    if not found:
        return None, None
    left_right, front_back = np.average(found, axis=0, weights=weights)
    return float(left_right), float(front_back)


def _likeness(plane: NDArray[np.float64]) -> float:
    """Return how much of a plane is found again where its rows are mirrored about their centre of mass."""
    rows = np.arange(len(plane))
    mirrored = int(np.rint(2 * np.average(rows, weights=plane.sum(axis=1)))) - rows
    there = (mirrored >= 0) & (mirrored < len(plane))
    return float((plane[there] * plane[mirrored[there]]).sum() / (plane**2).sum())
