"""AUC, calibration and the control with permuted labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spine_models.evaluation.competition import competition_loss, prior_loss, study_losses
from spine_models.evaluation.scores import (
    area_under_curve,
    calibration,
    pairwise_losses,
    permuted_label_control,
)
from spine_models.evaluation.tables import STUDY
from spine_models.levels import TARGETS

STORED = Path(__file__).with_name("stored_predictions.csv")


@pytest.fixture(scope="module")
def stored():
    """Out-of-fold predictions of a run of `make demo`: columns of probabilities, and of labels named true_*."""
    table = pd.read_csv(STORED).set_index(STUDY)
    return table[list(TARGETS)].to_numpy(), table[[f"true_{target}" for target in TARGETS]].to_numpy(dtype=float)


def test_auc_by_hand():
    # Pairs (present, absent): (0.8 > 0.5), (0.8 > 0.3), (0.4 < 0.5), (0.4 > 0.3): 3 of 4.
    assert area_under_curve([0.8, 0.5, 0.4, 0.3], [1, 0, 1, 0]) == 0.75
    assert area_under_curve([0.8, 0.5], [1, 1]) is None


def test_calibration_by_hand():
    table = calibration([0.1, 0.15, 0.9, 1.0], [0, 1, 1, 1])
    assert table == [
        {"predicted": 0.125, "observed": 0.5, "n": 2},
        {"predicted": 0.95, "observed": 1.0, "n": 2},
    ]


def test_pairwise_losses_are_the_metric(stored):
    probabilities, targets = stored
    pairs = pairwise_losses(probabilities, targets)
    np.testing.assert_allclose(np.diag(pairs), study_losses(probabilities, targets))
    np.testing.assert_allclose(pairs[3, 5], study_losses(probabilities[3:4], targets[5:6])[0])


def test_stored_predictions_beat_the_prior_and_not_by_chance(stored):
    probabilities, targets = stored
    assert competition_loss(probabilities, targets) < 0.95 * prior_loss(targets)
    assert permuted_label_control(probabilities, targets, seed=1)["p_value"] < 0.01


def test_control_with_permuted_labels_is_no_better_than_the_prior(stored):
    probabilities, targets = stored
    control = permuted_label_control(probabilities, targets, seed=1)
    assert control["no_better_than_prior"]
    assert control["expected_loss"] >= control["prior_loss"]
    assert control["share_better_than_prior"] <= 0.05
    # Each permutation through the plain metric, not through the shortcut over pairs.
    random = np.random.default_rng(0)
    losses = [competition_loss(probabilities, random.permutation(targets)) for _ in range(200)]
    assert np.mean(losses) == pytest.approx(control["expected_loss"], abs=0.02)
    assert np.mean(losses) >= prior_loss(targets)


def test_control_finds_predictions_that_know_the_labels_in_use(stored):
    # A prediction equal to the labels is far better than chance; a constant one is not, whatever the labels.
    targets = stored[1]
    assert permuted_label_control(targets, targets, seed=1)["p_value"] < 0.01
    constant = np.full_like(targets, 0.3)
    assert permuted_label_control(constant, targets, seed=1)["p_value"] == 1.0
