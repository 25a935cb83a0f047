import numpy as np
import pytest

from spine_models.data.samples.targets import is_in_window, window_target
from spine_models.levels import LEVELS, TARGETS


@pytest.mark.parametrize(
    ("inside", "total", "kept"),
    [(3, 10, True), (2, 10, False), (30_000, 100_000, True), (29_999, 100_000, False), (0, 0, False), (10, 10, True)],
)
def test_exactly_thirty_percent_is_kept_and_one_voxel_less_is_not(inside, total, kept):
    assert is_in_window(inside, total, 0.3) is kept


def test_the_edge_is_exact_where_binary_floating_point_is_not():
    # For these counts the float product 0.3 * total is above the integer inside, or 0.1 * 3 above 0.3.
    for total in range(10, 20_000, 10):
        inside = total * 3 // 10
        assert is_in_window(inside, total, 0.3)
        assert not is_in_window(inside - 1, total, 0.3)
        assert is_in_window(total // 10, total, 0.1)
    assert 0.1 * 3 > 0.3


def test_target_drops_what_is_out_of_the_window_and_recomputes_the_study():
    labels = [1, 0, 1, 0, 1, 0, 0, 0]  # C2 and C4
    totals = dict.fromkeys(LEVELS, 100)
    cases = [
        ({"C2": 100, "C4": 29}, [1, 0, 1, 0, 0, 0, 0, 0]),
        ({"C2": 29, "C4": 30}, [1, 0, 0, 0, 1, 0, 0, 0]),
        ({"C2": 29, "C4": 29, "C3": 100}, [0] * 8),
        ({"C2": 30, "C4": 30}, [1, 0, 1, 0, 1, 0, 0, 0]),
    ]
    for inside, expected in cases:
        target = window_target(labels, inside, totals, 0.3)
        assert target.dtype == np.float32
        assert target.tolist() == expected


def test_a_study_label_without_a_vertebra_label_is_not_kept():
    assert window_target([1] + [0] * 7, dict.fromkeys(LEVELS, 9), dict.fromkeys(LEVELS, 9), 0.3).tolist() == [0.0] * 8
    assert len(TARGETS) == 8


def test_a_level_that_the_mask_does_not_show_gets_no_label():
    assert window_target([1] * 8, {"C1": 5}, {"C1": 5}, 0.3).tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_a_vertebra_of_one_voxel_counts_where_that_voxel_is():
    labels = [1, 1, 0, 0, 0, 0, 0, 0]
    assert is_in_window(1, 1, 0.3)
    assert window_target(labels, {"C1": 1}, {"C1": 1}, 0.3)[1] == 1
    assert window_target(labels, {}, {"C1": 1}, 0.3)[1] == 0
    assert window_target(labels, {"C1": 1}, {}, 0.3)[1] == 0


@pytest.mark.parametrize("labels", [[1] * 7, [1] * 9])
def test_labels_of_another_number_are_an_error(labels):
    with pytest.raises(ValueError, match="zip"):
        window_target(labels, {}, {}, 0.3)
