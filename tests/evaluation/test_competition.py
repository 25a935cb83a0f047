"""The challenge's metric against cases worked by hand."""

import math
import re

import numpy as np
import pytest

from spine_models.evaluation.competition import (
    bootstrap_interval,
    clip_probabilities,
    competition_loss,
    prior_loss,
    prior_probabilities,
    study_losses,
    study_weights,
)


def _targets(*positive: int) -> list[float]:
    return [1.0 if index in positive else 0.0 for index in range(8)]


def test_a_study_without_fracture():
    # Weights: overall 7, seven vertebrae 1 each: 14 in all. overall 0.2, vertebrae 0.1:
    # (7 * -ln 0.8 + 7 * -ln 0.9) / 14 = (0.22314355 + 0.10536052) / 2 = 0.16425203
    loss = competition_loss([[0.2] + [0.1] * 7], [_targets()])
    assert loss == pytest.approx(0.16425203, abs=1e-8)


def test_a_study_with_one_fracture():
    # overall and C2 (index 2) positive: weights 14, 2 and six times 1: 22 in all. overall 0.5, C2 0.25, others 0.1:
    # (14 * -ln 0.5 + 2 * -ln 0.25 + 6 * -ln 0.9) / 22 = (9.70406053 + 2.77258872 + 0.63216309) / 22 = 0.59585511
    probabilities = [0.5, 0.1, 0.25, 0.1, 0.1, 0.1, 0.1, 0.1]
    assert competition_loss([probabilities], [_targets(0, 2)]) == pytest.approx(0.59585511, abs=1e-8)


def test_studies_count_equally_whatever_their_weights():
    # The two studies above together: the mean of their own losses, (0.16425203 + 0.59585511) / 2 = 0.38005357.
    # Pooling the weighted losses first would give (14 * 0.16425203 + 22 * 0.59585511) / 36 = 0.42800946.
    probabilities = [[0.2] + [0.1] * 7, [0.5, 0.1, 0.25, 0.1, 0.1, 0.1, 0.1, 0.1]]
    assert competition_loss(probabilities, [_targets(), _targets(0, 2)]) == pytest.approx(0.38005357, abs=1e-8)


def test_certainty_is_clipped():
    # All wrong with certainty: every term is -ln 0.01 = 4.60517019; all right: -ln 0.99 = 0.01005034.
    wrong = competition_loss([[1.0] * 8], [_targets()])
    right = competition_loss([[0.0] * 8], [_targets()])
    assert (wrong, right) == (pytest.approx(4.60517019, abs=1e-8), pytest.approx(0.01005034, abs=1e-8))
    assert clip_probabilities([-1.0, 0.5, 2.0]).tolist() == [0.01, 0.5, 0.99]


def test_shares_of_a_study():
    # One study with overall and C1: 14, 2, 1 * 6 of 22; one without: 7, 1 * 7 of 14.
    shares = study_weights([_targets(0, 1), _targets()])
    np.testing.assert_allclose(shares[0], np.array([14, 2, 1, 1, 1, 1, 1, 1]) / 22)
    np.testing.assert_allclose(shares[1], np.array([7, 1, 1, 1, 1, 1, 1, 1]) / 14)


def test_prior_of_two_studies_by_hand():
    # overall: shares 14/22 (positive) and 7/14 (negative): 0.63636 / 1.13636 = 0.56.
    # C1: 2/22 (positive), 1/14 (negative): 0.090909 / 0.162338 = 0.56. C2..C7: never positive: 0, clipped to 0.01.
    prior = prior_probabilities([_targets(0, 1), _targets()])
    np.testing.assert_allclose(prior, [0.56, 0.56] + [0.01] * 6, atol=1e-12)


@pytest.fixture(scope="module")
def cohort():
    random = np.random.default_rng(5)
    levels = random.random((60, 7)) < [0.07, 0.14, 0.04, 0.05, 0.08, 0.14, 0.2]
    targets = np.column_stack([levels.any(axis=1), levels]).astype(float)
    probabilities = np.clip(0.25 + 0.5 * targets + 0.1 * random.standard_normal(targets.shape), 0, 1)
    return probabilities, targets


@pytest.mark.parametrize("target", range(8))
@pytest.mark.parametrize("step", [-0.02, -0.001, 0.001, 0.02])
def test_prior_is_the_best_constant(cohort, target, step):
    targets = cohort[1]
    prior = prior_probabilities(targets)
    moved = prior.copy()
    moved[target] += step
    assert competition_loss(np.tile(moved, (60, 1)), targets) > prior_loss(targets)


def test_prior_is_not_the_plain_frequency(cohort):
    targets = cohort[1]
    frequency = np.tile(targets.mean(axis=0), (60, 1))
    assert prior_loss(targets) < competition_loss(frequency, targets) - 0.005


def test_interval_contains_the_metric_and_is_seeded(cohort):
    loss = competition_loss(*cohort)
    low, high = bootstrap_interval(*cohort, seed=3)
    assert low < loss < high
    spread = study_losses(*cohort).std() / math.sqrt(60)
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert bootstrap_interval(*cohort, seed=3) == (low, high)
    assert bootstrap_interval(*cohort, seed=4) != (low, high)


def test_interval_of_one_study_is_its_loss():
    low, high = bootstrap_interval([[0.5] * 8], [_targets()], seed=0, draws=10)
    assert low == high == pytest.approx(math.log(2))


def test_the_interval_is_the_middle_95_percent_of_2000_draws_of_as_many_studies(cohort):
    losses = study_losses(*cohort)
    random = np.random.default_rng(3)
    means = [losses[random.integers(0, 60, 60)].mean() for _ in range(2000)]
    assert bootstrap_interval(*cohort, seed=3) == tuple(np.percentile(means, [2.5, 97.5]))


def test_everything_is_computed_in_float64(cohort):
    """What a network returns is float32, and a table's labels are integers."""
    probabilities, targets = cohort[0].astype(np.float32), cohort[1].astype(np.int64)
    exact = probabilities.astype(np.float64), targets.astype(np.float64)
    assert clip_probabilities(probabilities).dtype == np.float64
    np.testing.assert_array_equal(study_losses(probabilities, targets), study_losses(*exact))
    np.testing.assert_array_equal(study_weights(targets.tolist()), study_weights(exact[1]))
    np.testing.assert_array_equal(prior_probabilities(targets.astype(bool).tolist()), prior_probabilities(exact[1]))
    assert study_weights(exact[1].astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: competition_loss([[0.5] * 7], [[0.0] * 8]),
            "probabilities must have the shape (studies, 8), not (1, 7)",
        ),
        (lambda: study_weights([0.0] * 8), "targets must have the shape (studies, 8), not (8,)"),
        (lambda: study_weights([[float("inf")] * 8]), "targets must be finite"),
        (lambda: study_losses([[float("nan")] * 8], [[0.0] * 8]), "probabilities must be finite"),
        (lambda: study_weights([[0.5] * 8]), "targets must be 0 or 1"),
        (lambda: study_losses([[0.5] * 8] * 2, [[0.0] * 8]), "2 predictions for 1 studies"),
        (lambda: competition_loss(np.zeros((0, 8)), np.zeros((0, 8))), "the metric of no study is not defined"),
        (lambda: prior_probabilities(np.zeros((0, 8))), "the prior of no study is not defined"),
        (lambda: bootstrap_interval(np.zeros((0, 8)), np.zeros((0, 8)), 1), "the interval of no study is not defined"),
    ],
)
def test_what_is_not_defined_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        call()
