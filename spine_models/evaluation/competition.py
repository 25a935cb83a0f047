"""The challenge's metric: weighted binary log loss, normalised within each study.

A negative target weighs 1 for a vertebra and 7 for ``patient_overall``, a positive one twice that. A study's loss
is the sum of its weighted losses over the sum of its weights; the metric is the mean over studies. Probabilities
are clipped to [0.01, 0.99]. Source: evaluation page of the RSNA 2022 cervical spine fracture detection challenge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spine_models.levels import TARGETS

Floats = NDArray[np.float64]

CLIP_LOW = 0.01
CLIP_HIGH = 0.99
NEGATIVE_WEIGHTS: tuple[float, ...] = tuple(7.0 if target == "patient_overall" else 1.0 for target in TARGETS)
"""Weight of each target where it is absent; it weighs ``POSITIVE_FACTOR`` times as much where it is present."""
POSITIVE_FACTOR = 2.0


def clip_probabilities(probabilities: ArrayLike) -> Floats:
    """Clip probabilities of any shape to [0.01, 0.99] as float64."""
    return np.clip(np.asarray(probabilities, dtype=np.float64), CLIP_LOW, CLIP_HIGH)


def study_weights(targets: ArrayLike) -> Floats:
    """Return each target's share of its study's loss: shape (N, 8), every row sums to 1.

    Args:
        targets: (N, 8) of 0 and 1 in the order of ``levels.TARGETS``.

    Raises:
        ValueError: if the shape or a value is something else.
    """
    present = _checked(targets, "targets")
    if not np.isin(present, (0.0, 1.0)).all():
        raise ValueError("targets must be 0 or 1")
    weights = np.asarray(NEGATIVE_WEIGHTS) * np.where(present == 1.0, POSITIVE_FACTOR, 1.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def study_losses(probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """Return the loss of each study, shape (N,).

    Args:
        probabilities: (N, 8) in the order of ``levels.TARGETS``; clipped here.
        targets: (N, 8) of 0 and 1.

    Raises:
        ValueError: if shapes differ, a probability is not finite or a target is neither 0 nor 1.
    """
    shares = study_weights(targets)
    predicted = clip_probabilities(_checked(probabilities, "probabilities"))
    if predicted.shape != shares.shape:
        raise ValueError(f"{predicted.shape[0]} predictions for {shares.shape[0]} studies")
    present = np.asarray(targets, dtype=np.float64)
    losses = -np.where(present == 1.0, np.log(predicted), np.log1p(-predicted))
    return np.asarray((shares * losses).sum(axis=1))


def competition_loss(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """Return the challenge's metric: the mean of ``study_losses``; lower is better.

    Raises:
        ValueError: as ``study_losses``, and for no study at all.
    """
    losses = study_losses(probabilities, targets)
    if not losses.size:
        raise ValueError("the metric of no study is not defined")
    return float(losses.mean())


def prior_probabilities(targets: ArrayLike) -> Floats:
    """Return the constant prediction with the lowest ``competition_loss`` on ``targets``, shape (8,).

    With ``s[i, c]`` the share of target ``c`` in study ``i`` (``study_weights``), the part of the metric that
    depends on ``p[c]`` is ``-sum_i s[i, c] (y log p + (1 - y) log(1 - p))``, which is lowest at
    ``sum_i s[i, c] y[i, c] / sum_i s[i, c]``. It is convex, so that clipping gives the best clipped constant.
    """
    shares = study_weights(targets)
    if not len(shares):
        raise ValueError("the prior of no study is not defined")
    present = np.asarray(targets, dtype=np.float64)
    return clip_probabilities((shares * present).sum(axis=0) / shares.sum(axis=0))


def prior_loss(targets: ArrayLike) -> float:
    """Return the metric of ``prior_probabilities`` on the very studies that they come from."""
    best = prior_probabilities(targets)
    return competition_loss(np.tile(best, (len(np.asarray(targets)), 1)), targets)


def bootstrap_interval(
    probabilities: ArrayLike, targets: ArrayLike, seed: int, draws: int = 2000
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the metric over studies drawn with replacement.

    Args:
        probabilities: (N, 8).
        targets: (N, 8).
        seed: of the draws; equal seeds give equal intervals.
        draws: number of resampled sets of N studies.
    """
    losses = study_losses(probabilities, targets)
    if not losses.size:
        raise ValueError("the interval of no study is not defined")
    random = np.random.default_rng(seed)
    means = [losses[random.integers(0, losses.size, losses.size)].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _checked(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(TARGETS):
        raise ValueError(f"{name} must have the shape (studies, {len(TARGETS)}), not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array
