"""Arithmetic of the crop windows: where a window of ``depth`` slices goes around a vertebra."""

from __future__ import annotations

import math

import numpy as np


def draw_window_start(z0: int, z1: int, depth: int, generator: np.random.Generator) -> int:
    """Draw the first slice of a training window, uniformly among those that keep the vertebra inside.

    A vertebra taller than the window gets a window that is inside the vertebra. The window may begin before
    the volume and end behind it; what is there is air.

    Args:
        z0: first slice of the vertebra.
        z1: slice behind its last.
        depth: slices of a window.
        generator: the sample's own random numbers.
    """
    first, last = sorted((z1 - depth, z0))
    return int(generator.integers(first, last, endpoint=True))


def validation_window_starts(z0: int, z1: int, depth: int) -> list[int]:
    """Return the first slice of each validation window of the vertebra at slices ``[z0, z1)``.

    One centred window where the vertebra fits. Otherwise the first and the last window that are inside it, so
    that its tail is scored too, and as many evenly spaced ones between them as it takes to leave no slice out
    (only where it is taller than two windows).
    """
    height = z1 - z0
    if height <= depth:
        return [z0 - (depth - height) // 2]
    count = math.ceil(height / depth)
    return [z0 + round(i * (height - depth) / (count - 1)) for i in range(count)]


def window_reach(z0: int, z1: int, depth: int) -> tuple[int, int]:
    """Return the slices ``[first, last)`` that some window of the vertebra can hold, beyond the volume too."""
    return min(z0, z1 - depth), max(z1, z0 + depth)
