"""Which slice of a level is shown first: our choice of network, window and slice; the gradient is tested beside it."""

import numpy as np
import pytest

from spine_models.inference.where_to_look import suspicious_slices
from spine_models.levels import TARGETS

DEPTH = 10
C3, C4 = TARGETS.index("C3"), TARGETS.index("C4")


class Attention:
    """Stands for a predictor whose attention is known: a peak at one slice of each window."""

    def __init__(self, peaks):
        self.peaks, self.asked = peaks, []

    def attention(self, window, target):
        self.asked.append((window, target))
        values = np.full(DEPTH, 0.1)
        peak = self.peaks[window]
        values[: len(np.atleast_1d(peak))] = peak
        return values


def peak(at, height=5.0):
    values = np.full(DEPTH, 0.1)
    values[at] = height
    return values


def probabilities(windows, **cells):
    values = np.full((windows, len(TARGETS)), 0.2)
    for (window, target), value in cells.get("cells", {}).items():
        values[window, target] = value
    return values


def look(boxes, starts, values, predictors):
    return suspicious_slices(list(range(len(starts))), starts, DEPTH, boxes, values, predictors)


def test_the_surest_network_and_its_surest_window_decide():
    low, high = Attention({0: peak(1), 1: peak(1)}), Attention({0: peak(2), 1: peak(6)})
    values = {
        "low": probabilities(2, cells={(0, C3): 0.6}),
        "high": probabilities(2, cells={(1, C3): 0.9}),
    }
    found = look({"C3": (20, 28, 0, 5, 0, 5)}, [15, 18], values, {"low": low, "high": high})
    assert found == {"C3": 18 + 6}
    assert low.asked == []
    assert high.asked == [(1, C3)]


def test_only_slices_of_the_level_count():
    predictor = Attention({0: peak(0) + peak(5, 3.0)})
    found = look({"C4": (23, 27, 0, 5, 0, 5)}, [20], {"a": probabilities(1)}, {"a": predictor})
    assert found == {"C4": 25}


def test_a_window_that_begins_before_the_volume():
    predictor = Attention({0: peak(2) + peak(7, 3.0)})
    found = look({"C3": (0, 6, 0, 5, 0, 5)}, [-3], {"a": probabilities(1)}, {"a": predictor})
    assert found == {"C3": 4}


def test_a_window_of_another_level_may_be_the_surest_one_only_where_it_shows_the_level():
    predictor = Attention({0: peak(4), 1: peak(4), 2: peak(8)})
    values = {"a": probabilities(3, cells={(2, C4): 0.9, (0, C3): 0.9, (2, C3): 0.95})}
    boxes = {"C3": (10, 18, 0, 5, 0, 5), "C4": (30, 40, 0, 5, 0, 5)}
    assert look(boxes, [8, 10, 29], values, {"a": predictor}) == {"C3": 12, "C4": 37}


@pytest.mark.parametrize("values", [np.full(DEPTH, np.nan), np.full(DEPTH, np.inf), np.zeros(DEPTH)])
def test_no_slice_is_named_where_the_gradient_says_nothing(values):
    predictor = Attention({0: values})
    assert look({"C3": (20, 28, 0, 5, 0, 5)}, [19], {"a": probabilities(1)}, {"a": predictor}) == {}


def test_a_level_that_no_window_shows_has_none():
    predictor = Attention({0: peak(3)})
    assert look({"C3": (20, 28, 0, 5, 0, 5)}, [40], {"a": probabilities(1)}, {"a": predictor}) == {}
