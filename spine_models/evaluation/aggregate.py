"""From the probabilities of a study's crops to those of the study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from spine_models.evaluation.competition import Floats, clip_probabilities
from spine_models.levels import TARGETS


def study_probabilities(crop_probabilities: Sequence[ArrayLike], *, clip: bool = True) -> Floats:
    """Return the maximum over a study's crops for each target, shape (8,).

    Args:
        crop_probabilities: one (8,) for each crop of the study, in the order of ``levels.TARGETS``.
        clip: limit the maximum to [0.01, 0.99].

    Raises:
        ValueError: if there is no crop (a study without a visible level gets the training prior, which is not
            known here), or a crop has another shape or a value that is not finite.
    """
    crops = np.asarray(crop_probabilities, dtype=np.float64)
    if crops.ndim != 2 or crops.shape[0] == 0 or crops.shape[1] != len(TARGETS):
        raise ValueError(f"expected at least one crop of {len(TARGETS)} probabilities, not the shape {crops.shape}")
    if not np.isfinite(crops).all():
        raise ValueError("a crop's probability is not finite")
    largest = crops.max(axis=0)
    return clip_probabilities(largest) if clip else np.asarray(largest)


def mean_over_models(probabilities: Sequence[ArrayLike]) -> Floats:
    """Return the ensemble's probabilities: the mean over models of (..., 8) arrays of one shape.

    Raises:
        ValueError: if there is no model.
    """
    if not len(probabilities):
        raise ValueError("an ensemble needs at least one model")
    return np.asarray(np.mean(np.asarray(probabilities, dtype=np.float64), axis=0))
