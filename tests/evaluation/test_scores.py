"""AUC, calibration and the control with permuted labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spine_models.evaluation import scores
from spine_models.evaluation.competition import (
    bootstrap_interval,
    competition_loss,
    prior_loss,
    prior_probabilities,
    study_losses,
)
from spine_models.evaluation.scores import (
    area_under_curve,
    auc_interval,
    auc_per_target,
    calibration,
    classification_scores,
    pairwise_losses,
    permuted_label_control,
    rounded,
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


def test_the_interval_of_an_auc_holds_it_and_narrows_with_studies():
    random = np.random.default_rng(0)
    widths = []
    for number in (40, 1000):
        present = np.arange(number) % 4 == 0
        found = present + random.standard_normal(number)
        low, high = auc_interval(found, present, range(number), seed=1)
        assert low < area_under_curve(found, present) < high
        widths.append(high - low)
    # sqrt(40 / 1000) = 0.2
    assert 0.1 < widths[1] / widths[0] < 0.3
    assert auc_interval([0.1, 0.2], [1, 1], [0, 1], seed=1) is None


def test_the_interval_of_an_auc_leaves_a_fortieth_out_on_either_side():
    """A fractured vertebra at 0.5 in each of 100 studies, and a whole one at 0 or 1: the area is the share of zeros.

    Of 100 draws with the probability 1/2, at most 39 are zeros in 1.8 % of the cases, and at most 40 in 2.8 %.
    """
    found, present = np.array([[0.5, study % 2] for study in range(100)]), np.array([[1, 0]] * 100)
    studies = np.repeat(np.arange(100), 2)
    assert auc_interval(found.ravel(), present.ravel(), studies, seed=1, draws=20_000) == [0.4, 0.6]


def test_draws_of_the_interval_score_as_area_under_curve_does():
    """Ties count half; what comes from one study is drawn together."""
    values, present, studies = (
        np.array([0.8, 0.5, 0.5, 0.3, 0.5, 0.2]),
        np.array([1, 0, 1, 0, 1, 0]),
        [0, 0, 1, 1, 2, 2],
    )
    drawn = np.random.default_rng(3).integers(0, 3, 3)
    rows = [row for study in drawn for row in np.flatnonzero(np.asarray(studies) == study)]
    low, high = auc_interval(values, present, studies, seed=3, draws=1)
    assert low == high == pytest.approx(area_under_curve(values[rows], present[rows]), abs=1e-6)


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


def test_auc_is_rounded_and_each_targets_own(stored):
    probabilities, targets = stored
    found = auc_per_target(probabilities, targets)
    assert list(found) == list(TARGETS)
    for column, target in enumerate(TARGETS):
        assert found[target] == area_under_curve(probabilities[:, column], targets[:, column])
        assert found[target] == round(found[target], 6)
    assert len(set(found.values())) == 8


def test_calibration_has_five_equal_parts_of_any_shape_and_leaves_out_empty_ones():
    predicted = np.array([[0.0, 0.19], [0.2, 0.39], [0.8, 1 / 3]], np.float32)
    table = calibration(predicted, [[0, 1], [1, 1], [1, 0]])
    assert [row["n"] for row in table] == [2, 3, 1]
    assert [row["observed"] for row in table] == [0.5, 0.666667, 1.0]
    assert table[1]["predicted"] == round(float(predicted[[1, 1, 2], [0, 1, 1]].astype(float).mean()), 6)
    assert [row["n"] for row in calibration(predicted, [[0, 1], [1, 1], [1, 0]], bins=1)] == [6]


def test_the_control_by_hand():
    """Two studies, the second fractured: right by the labels as they are, wrong by the only other order."""
    targets = [[0.0] * 8, [1.0] * 8]
    control = permuted_label_control([[0.2] * 8, [0.9] * 8], targets, seed=1, permutations=40)
    right, wrong = -(np.log(0.8) + np.log(0.9)) / 2, -(np.log(0.2) + np.log(0.1)) / 2
    assert control["expected_loss"] == round((right + wrong) / 2, 6)
    assert control["prior_loss"] == round(float(np.log(2)), 6)
    random = np.random.default_rng(1)
    kept = sum(int(random.permutation(2)[0] == 0) for _ in range(40))
    assert 5 < kept < 35
    assert control["share_better_than_prior"] == round(kept / 40, 6)
    assert control["p_value"] == round((1 + kept) / 41, 6)
    assert control["no_better_than_prior"] is True
    assert control["permutations"] == 40


def test_predictions_that_are_as_good_in_every_order_have_no_p_value_to_speak_of(stored):
    control = permuted_label_control(np.full((4, 8), 0.5), np.eye(4, 8), seed=1)
    assert control["p_value"] == 1.0
    assert control["permutations"] == 500


def test_the_best_constant_is_the_prior_and_no_better(stored):
    targets = stored[1]
    best = np.tile(prior_probabilities(targets), (len(targets), 1))
    control = permuted_label_control(best, targets, seed=1)
    assert control["expected_loss"] == control["prior_loss"]
    assert control["no_better_than_prior"] is True


def test_pairs_are_computed_in_float64_from_whole_numbers_too():
    pairs = pairwise_losses(np.full((2, 8), 0.25, np.float32), [[0] * 8, [1] * 8])
    assert pairs.dtype == np.float64
    np.testing.assert_allclose(pairs, [[-np.log(0.75), -np.log(0.25)]] * 2, rtol=1e-12)


def test_all_figures_of_one_set_of_predictions(stored):
    probabilities, targets = stored
    found = classification_scores(probabilities.astype(np.float32), targets.astype(int), seed=5)
    exact = probabilities.astype(np.float32).astype(np.float64)
    assert found == {
        "competition_loss": round(competition_loss(exact, targets), 6),
        "competition_loss_ci95": [round(edge, 6) for edge in bootstrap_interval(exact, targets, 5)],
        "prior_loss": round(prior_loss(targets), 6),
        "auc": auc_per_target(exact, targets),
        "auc_ci95": {
            target: auc_interval(exact[:, column], targets[:, column], range(len(targets)), 5)
            for column, target in enumerate(TARGETS)
        },
        "positives": dict(zip(TARGETS, targets.sum(axis=0), strict=True)),
        "n_studies": len(targets),
    }
    assert rounded(1 / 3) == 0.333333


@pytest.mark.parametrize("off", [1e-6, 0.5])
def test_an_evaluation_that_beats_the_best_constant_is_called_out(stored, monkeypatch, off):
    """It cannot be, so that the prior is made worse than it is."""
    targets = stored[1]
    best = np.tile(prior_probabilities(targets), (len(targets), 1))
    monkeypatch.setattr(scores, "prior_loss", lambda labels: prior_loss(labels) + off)
    control = permuted_label_control(best, targets, seed=1)
    assert control["no_better_than_prior"] is False
    assert control["share_better_than_prior"] == 1.0


def test_labels_may_be_truth_values(stored):
    probabilities, targets = stored
    yes_or_no = targets.astype(bool).tolist()
    np.testing.assert_array_equal(pairwise_losses(probabilities, yes_or_no), pairwise_losses(probabilities, targets))
    assert classification_scores(probabilities.tolist(), yes_or_no, 5) == classification_scores(
        probabilities, targets, 5
    )
    assert calibration(probabilities.tolist(), yes_or_no) == calibration(probabilities, targets)
