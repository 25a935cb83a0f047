"""All figures of one set of predictions: metric, interval, prior, AUC, calibration and the permutation control."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from spine_models.evaluation.competition import (
    Floats,
    bootstrap_interval,
    clip_probabilities,
    competition_loss,
    prior_loss,
    study_weights,
)
from spine_models.levels import TARGETS

DECIMALS = 6
"""Figures are rounded, so that the last bits of a machine's arithmetic do not change the published file."""


def rounded(value: float) -> float:
    """Round a figure for publication."""
    return round(float(value), DECIMALS)


def area_under_curve(scores: ArrayLike, present: ArrayLike) -> float | None:
    """Return the area under the ROC curve, or None where only one class is there (it is not defined then).

    Args:
        scores: (N,), larger means more likely present.
        present: (N,) of 0 and 1.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.asarray(present)
    if len(np.unique(truth)) < 2:
        return None
    return rounded(roc_auc_score(truth, np.asarray(scores)))


def auc_interval(
    scores: ArrayLike, present: ArrayLike, studies: ArrayLike, seed: int, draws: int = 1000
) -> list[float] | None:
    """Return the 95 % percentile interval of the area under the curve over studies drawn with replacement.

    Draws that hold only one class are left out. None where ``area_under_curve`` is not defined.

    Args:
        scores: (N,), larger means more likely present.
        present: (N,) of 0 and 1.
        studies: (N,) number of the study of each score, from 0; what comes from one study is drawn together.
        seed: of the draws; equal seeds give equal intervals.
        draws: number of resampled sets of studies.
    """
    truth, study = np.asarray(present, dtype=np.float64), np.asarray(studies)
    if len(np.unique(truth)) < 2:
        return None
    _, rank = np.unique(np.asarray(scores), return_inverse=True)
    random = np.random.default_rng(seed)
    number = int(study.max()) + 1
    areas = []
    for _ in range(draws):
        weight = np.bincount(random.integers(0, number, number), minlength=number)[study]
        there, absent = (np.bincount(rank, weights=weight * part) for part in (truth, 1 - truth))
        pairs = there.sum() * absent.sum()
        if pairs:
            # A pair of equal scores counts as half won.
            areas.append((there * (absent.cumsum() - absent / 2)).sum() / pairs)
    low, high = np.percentile(areas, [2.5, 97.5])
    return [rounded(low), rounded(high)]


def auc_per_target(probabilities: Floats, targets: Floats) -> dict[str, float | None]:
    """Return the AUC of each target over studies; both arrays (N, 8)."""
    return {
        target: area_under_curve(probabilities[:, column], targets[:, column]) for column, target in enumerate(TARGETS)
    }


def calibration(probabilities: ArrayLike, present: ArrayLike, bins: int = 5) -> list[dict[str, float]]:
    """Return mean predicted against observed frequency in ``bins`` equal parts of [0, 1]; empty parts are left out.

    Args:
        probabilities: any shape.
        present: 0 and 1, the same shape.
        bins: number of parts.
    """
    predicted = np.asarray(probabilities, dtype=np.float64).ravel()
    observed = np.asarray(present, dtype=np.float64).ravel()
    part = np.minimum((predicted * bins).astype(int), bins - 1)
    return [
        {
            "predicted": rounded(predicted[part == index].mean()),
            "observed": rounded(observed[part == index].mean()),
            "n": int((part == index).sum()),
        }
        for index in range(bins)
        if (part == index).any()
    ]


def permuted_label_control(
    probabilities: ArrayLike, targets: ArrayLike, seed: int, permutations: int = 500
) -> dict[str, Any]:
    """Score predictions against the labels of other studies: what knows nothing must not beat the prior.

    The expectation over permutations is exact: each study's prediction is scored against each study's labels.
    A prediction that is paired with labels at random is a constant for the metric, and no constant is better
    than the prior, so that ``expected_loss >= prior_loss`` unless the evaluation itself is wrong.

    Args:
        probabilities: (N, 8).
        targets: (N, 8).
        seed: of the drawn permutations.
        permutations: how many are drawn for the spread and the p-value.

    Returns:
        ``expected_loss``, ``prior_loss``, ``no_better_than_prior``, ``share_better_than_prior`` (of the drawn
        permutations) and ``p_value`` ((1 + permutations no worse than the true labels) / (1 + permutations)).
    """
    pairs = pairwise_losses(probabilities, targets)
    studies = np.arange(len(pairs))
    random = np.random.default_rng(seed)
    drawn = np.array([pairs[random.permutation(studies), studies].mean() for _ in range(permutations)])
    prior = prior_loss(targets)
    expected = float(pairs.mean())
    return {
        "expected_loss": rounded(expected),
        "prior_loss": rounded(prior),
        "no_better_than_prior": bool(expected >= prior - 1e-12),
        "share_better_than_prior": rounded((drawn < prior).mean()),
        "p_value": rounded((1 + (drawn <= pairs[studies, studies].mean() + 1e-12).sum()) / (1 + permutations)),
        "permutations": permutations,
    }


def pairwise_losses(probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """Return the loss of study i's prediction against study j's labels, shape (N, N)."""
    predicted = clip_probabilities(probabilities)
    shares = study_weights(targets)
    present = np.asarray(targets, dtype=np.float64)
    return np.asarray(-(np.log(predicted) @ (shares * present).T + np.log1p(-predicted) @ (shares * (1 - present)).T))


def classification_scores(probabilities: ArrayLike, targets: ArrayLike, seed: int) -> dict[str, Any]:
    """Return the figures of one set of predictions.

    Args:
        probabilities: (N, 8) in the order of ``levels.TARGETS``.
        targets: (N, 8) of 0 and 1.
        seed: of the bootstrap.
    """
    predicted = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(targets, dtype=np.float64)
    low, high = bootstrap_interval(predicted, truth, seed)
    each = np.arange(len(truth))
    return {
        "competition_loss": rounded(competition_loss(predicted, truth)),
        "competition_loss_ci95": [rounded(low), rounded(high)],
        "prior_loss": rounded(prior_loss(truth)),
        "auc": auc_per_target(predicted, truth),
        "auc_ci95": {
            target: auc_interval(predicted[:, column], truth[:, column], each, seed)
            for column, target in enumerate(TARGETS)
        },
        "positives": {target: int(truth[:, column].sum()) for column, target in enumerate(TARGETS)},
        "n_studies": len(truth),
    }
