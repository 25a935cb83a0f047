"""The eight targets of a training window: a vertebra counts only where enough of it is in the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from spine_models.levels import LEVELS


def is_in_window(inside: int, total: int, visible_fraction: float) -> bool:
    """Tell whether at least ``visible_fraction`` of a vertebra's voxels are in the window, in exact arithmetic.

    Binary floating point would let the edge fall either way (0.3 is not a binary fraction), so the setting is taken
    as the decimal that it was written as: 3 of 10 voxels are 30 %.

    Args:
        inside: voxels of the vertebra in the window, on the mask's own grid.
        total: voxels of the vertebra in the whole mask of the study; 0 means that it was not found.
        visible_fraction: least share, for example 0.3 (method, crops and targets).
    """
    return total > 0 and Fraction(inside, total) >= Fraction(str(visible_fraction))


def window_target(
    labels: Sequence[int], inside: Mapping[str, int], totals: Mapping[str, int], visible_fraction: float
) -> NDArray[np.float32]:
    """Return the target of a training window.

    A vertebra of which less than ``visible_fraction`` is in the window gets 0; ``patient_overall`` is
    recomputed from the seven that remain. Validation and out-of-fold labels are not changed this way.

    Args:
        labels: 0 or 1 for each of ``TARGETS``, as given for the study.
        inside: voxels of each level in the final window and box, before augmentation.
        totals: voxels of each level in the whole mask.
        visible_fraction: see ``is_in_window``.

    Returns:
        (8,) in the order of ``TARGETS``.
    """
    vertebrae = [
        int(label) if is_in_window(inside.get(level, 0), totals.get(level, 0), visible_fraction) else 0
        for level, label in zip(LEVELS, labels[1:], strict=True)
    ]
    return np.array([max(vertebrae), *vertebrae], dtype=np.float32)
