"""How operating points are fixed on out-of-fold predictions, and how sensitive and specific they are on unseen studies.

Intervals choose the threshold anew in each set of studies that is drawn with replacement, and measure it on the studies
that were not drawn (Efron and Tibshirani 1993, chapter 17), so that they hold the choice of the threshold as well as
what chance does to studies that had no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from spine_models.evaluation.competition import Floats
from spine_models.evaluation.operating_points import (
    DECIMALS,
    OVERALL,
    SCOPES,
    VERTEBRA,
    OperatingPoint,
    OperatingPoints,
)
from spine_models.evaluation.scores import rounded
from spine_models.levels import LEVELS

WANTED = 0.9
"""Sensitivity, or specificity, that the points of that name reach out of fold."""
_ROUNDING = 1e-9

Rates = tuple[Floats, Floats, Floats]
"""Thresholds (rising), and the sensitivity and the specificity at each, all (T,)."""


def _least_sensitive(rates: Rates) -> int:
    return int(np.flatnonzero(rates[1] >= WANTED - _ROUNDING).max())


def _least_specific(rates: Rates) -> int:
    return int(np.flatnonzero(rates[2] >= WANTED - _ROUNDING).min())


def _youden(rates: Rates) -> int:
    """Largest sum of both (Youden 1950); of equal ones the largest threshold."""
    both = rates[1] + rates[2]
    return int(np.flatnonzero(both >= both.max() - _ROUNDING).max())


CHOICES: dict[str, Callable[[Rates], int]] = {
    "sensitivity_90": _least_sensitive,
    "specificity_90": _least_specific,
    "youden": _youden,
}
"""Name of a point, of ``operating_points.POINTS``: how its threshold is chosen."""


def operating_points(
    probabilities: Floats, targets: Floats, *, flips: Sequence[str], precisions: Sequence[str], seed: int
) -> OperatingPoints | None:
    """Fix all points on out-of-fold predictions; None where a scope has targets of only one kind.

    Args:
        probabilities: (N, 8) in the order of ``levels.TARGETS``.
        targets: (N, 8) of 0 and 1.
        flips: see ``OperatingPoints``.
        precisions: likewise.
        seed: of the draws.
    """
    studies = np.arange(len(probabilities))
    scopes = {
        OVERALL: (probabilities[:, 0], targets[:, 0], studies),
        VERTEBRA: (probabilities[:, 1:].ravel(), targets[:, 1:].ravel(), np.repeat(studies, len(LEVELS))),
    }
    if any(len(np.unique(present)) < 2 for _, present, _ in scopes.values()):
        return None
    points = {
        name: {scope: operating_point(*scopes[scope], choose=choose, seed=seed) for scope in SCOPES}
        for name, choose in CHOICES.items()
    }
    return OperatingPoints(points, (), tuple(flips), tuple(precisions), len(studies))


def operating_point(
    scores: ArrayLike,
    present: ArrayLike,
    studies: ArrayLike,
    *,
    choose: Callable[[Rates], int],
    seed: int,
    draws: int = 1000,
) -> OperatingPoint:
    """Fix one threshold and measure it.

    Args:
        scores: (N,) probabilities below 1, of which ``DECIMALS`` count.
        present: (N,) of 0 and 1, both of them.
        studies: (N,) number of the study of each, from 0; what comes from one study is drawn together.
        choose: index of the threshold among the rates.
        seed: of the draws.
        draws: sets of studies that are drawn; those without a fracture, or without a study that has none, among the
            drawn or the others are left out.
    """
    score = np.round(np.asarray(scores, float), DECIMALS)
    truth, study = np.asarray(present, float), np.asarray(studies)
    rates = _rates(score, truth, np.ones(len(score)))
    at = choose(rates)
    random, number = np.random.default_rng(seed), int(study.max()) + 1
    seen: list[tuple[float, float]] = []
    for _ in range(draws):
        drawn = np.bincount(random.integers(0, number, number), minlength=number)[study]
        left = drawn == 0
        if min(_kinds(truth, drawn), _kinds(truth, left)) < 2:
            continue
        again = _rates(score, truth, drawn)
        marked = score >= again[0][choose(again)]
        seen.append((float(marked[left & (truth == 1)].mean()), float(1 - marked[left & (truth == 0)].mean())))
    low, high = np.percentile(seen, [2.5, 97.5], axis=0) if seen else (None, None)
    sensitivity, specificity = (
        (None, None)
        if low is None or high is None
        else ((rounded(low[side]), rounded(high[side])) for side in range(2))
    )
    return OperatingPoint(
        rounded(rates[0][at]),
        rounded(rates[1][at]),
        rounded(rates[2][at]),
        sensitivity,
        specificity,
        int(truth.sum()),
        int((1 - truth).sum()),
    )


def _kinds(truth: Floats, weights: ArrayLike) -> int:
    return len(np.unique(truth[np.asarray(weights) > 0]))


def _rates(score: Floats, truth: Floats, weight: ArrayLike) -> Rates:
    """Return sensitivity and specificity at every threshold between two neighbouring scores, and at both ends.

    A threshold in the middle between two scores is the least sensitive to how they are rounded.
    """
    values = np.unique(score)
    between = np.ceil(((values[1:] + values[:-1]) / 2 * 10**DECIMALS).round(1)) / 10**DECIMALS
    thresholds = np.concatenate([[0.0], between, [1.0]])
    place = np.searchsorted(thresholds, score, side="right") - 1
    weights = np.asarray(weight, float)
    there, absent = (
        np.bincount(place, weights=weights * part, minlength=len(thresholds)) for part in (truth, 1 - truth)
    )
    # What reaches the threshold is marked, what equals it too.
    sensitivity = there[::-1].cumsum()[::-1] / there.sum()
    specificity = 1 - absent[::-1].cumsum()[::-1] / absent.sum()
    return thresholds, sensitivity, specificity
