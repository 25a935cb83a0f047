"""Dice against masks small enough to count."""

import numpy as np
import pytest

from spine_models.evaluation.dice import dice_per_level, mean_dice, mean_dice_per_level


def _row(**counts: int) -> np.ndarray:
    """A row of voxels: ``_row(_1=10, _0=2)`` is ten of C1 and two of background."""
    values = [int(name[1:]) for name, count in counts.items() for _ in range(count)]
    return np.array(values, dtype=np.uint8).reshape(1, 1, -1)


def test_counted_by_hand():
    # C1: label 30 voxels, mask 20, both 20: 40 / 50. C2: label 20, mask 30, both 20: 40 / 50. C3: label 10, mask 0: 0.
    # C4 is predicted and not in the label: no entry.
    label = _row(_1=30, _2=20, _3=10, _0=10)
    mask = _row(_1=20, _2=30, _0=10, _4=10)
    assert dice_per_level(mask, label) == {"C1": pytest.approx(0.8), "C2": pytest.approx(0.8), "C3": 0.0}


@pytest.mark.parametrize(("voxels", "counted"), [(9, {}), (10, {"C7": 1.0})])
def test_a_level_counts_from_ten_voxels_of_the_label_on(voxels, counted):
    label = _row(_7=voxels, _0=5)
    assert dice_per_level(label, label) == counted


def test_the_prediction_may_be_smaller():
    assert dice_per_level(_row(_7=1, _0=9), _row(_7=10)) == {"C7": pytest.approx(2 / 11)}


def test_a_level_that_the_prediction_misses_altogether_has_none():
    assert dice_per_level(_row(_0=15), _row(_7=10, _0=5)) == {"C7": 0.0}


def test_ignored_voxels_count_for_neither():
    # Without the last voxels C1 is 10 of 10, and C2 has 9, too few.
    label = _row(_1=10, _255=30, _2=9)
    assert dice_per_level(_row(_1=25, _2=24), label) == {"C1": 1.0}


def test_another_grid_is_refused():
    with pytest.raises(ValueError, match="different grids"):
        dice_per_level(_row(_1=10), _row(_1=11))


def test_means_over_studies_and_levels():
    # Study means 0.75 and 0.9, mean 0.825; C1 (1.0 + 0.9) / 2 = 0.95.
    studies = [{"C1": 1.0, "C2": 0.5}, {"C1": 0.9}, {}]
    assert mean_dice(studies) == pytest.approx(0.825)
    per_level = mean_dice_per_level(studies)
    assert per_level["C1"] == pytest.approx(0.95)
    assert per_level["C2"] == pytest.approx(0.5)
    assert per_level["C7"] is None
    assert mean_dice([{}]) is None
