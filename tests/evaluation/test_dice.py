"""Dice against masks small enough to count."""

import numpy as np
import pytest

from spine_models.evaluation.dice import dice_per_level, mean_dice, mean_dice_per_level


def _row(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8).reshape(1, 1, -1)


def test_counted_by_hand():
    # C1: label 3 voxels, mask 2, both 2: 4 / 5. C2: label 2, mask 3, both 2: 4 / 5. C3: label 1, mask 0: 0.
    # C4 is predicted and not in the label: no entry.
    label = _row(1, 1, 1, 2, 2, 3, 0)
    mask = _row(1, 1, 2, 2, 2, 0, 4)
    assert dice_per_level(mask, label) == {"C1": pytest.approx(0.8), "C2": pytest.approx(0.8), "C3": 0.0}


def test_ignored_voxels_count_for_neither():
    # Without the last two voxels: C1 1 of 1 and 1: Dice 1.
    assert dice_per_level(_row(1, 1, 2), _row(1, 255, 255)) == {"C1": 1.0}


def test_another_grid_is_refused():
    with pytest.raises(ValueError, match="different grids"):
        dice_per_level(_row(1), _row(1, 1))


def test_means_over_studies_and_levels():
    # Study means 0.75 and 0.9, mean 0.825; C1 (1.0 + 0.9) / 2 = 0.95.
    studies = [{"C1": 1.0, "C2": 0.5}, {"C1": 0.9}, {}]
    assert mean_dice(studies) == pytest.approx(0.825)
    per_level = mean_dice_per_level(studies)
    assert per_level["C1"] == pytest.approx(0.95)
    assert per_level["C2"] == pytest.approx(0.5)
    assert per_level["C7"] is None
    assert mean_dice([{}]) is None
