"""The maximum over crops and the mean over models."""

import numpy as np
import pytest

from spine_models.evaluation.aggregate import mean_over_models, study_probabilities


def test_maximum_over_crops_for_each_target_then_clip():
    crops = [[0.2, 0.0, 0.3, 0, 0, 0, 0, 0.5], [0.1, 0.999, 0.4, 0, 0, 0, 0, 0.2]]
    expected = [0.2, 0.99, 0.4, 0.01, 0.01, 0.01, 0.01, 0.5]
    np.testing.assert_array_equal(study_probabilities(crops), expected)


def test_the_maximum_can_stay_as_it_is():
    crops = [[0.2, 0.0, 0.3, 0, 0, 0, 0, 0.5], [0.1, 0.999, 0.4, 0, 0, 0, 0, 0.2]]
    np.testing.assert_array_equal(study_probabilities(crops, clip=False), [0.2, 0.999, 0.4, 0, 0, 0, 0, 0.5])


@pytest.mark.parametrize("crops", [[], [[0.5] * 7], [[float("nan")] * 8]])
def test_no_crop_or_a_strange_one_is_refused(crops):
    with pytest.raises(ValueError, match="crop"):
        study_probabilities(crops)


def test_models_are_averaged_in_float64():
    """What networks return is float32, whose sum of these is off by a part in ten million."""
    one, other = np.full(8, 0.1, np.float32), np.full(8, 0.7, np.float32)
    mean = mean_over_models([one, other])
    assert mean.dtype == np.float64
    assert mean[0] == (float(one[0]) + float(other[0])) / 2
    assert mean[0] != np.mean([one, other], axis=0)[0]
    assert study_probabilities([one]).dtype == np.float64


def test_models_are_averaged():
    np.testing.assert_allclose(mean_over_models([[0.2] * 8, [0.4] * 8, [0.9] * 8]), [0.5] * 8)
    with pytest.raises(ValueError, match="at least one model"):
        mean_over_models([])
