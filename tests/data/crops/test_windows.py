import numpy as np
import pytest

from spine_models.data.crops.windows import draw_window_start, validation_window_starts, window_reach


def _starts(z0, z1, depth, draws=3000):
    generator = np.random.default_rng(0)
    return np.array([draw_window_start(z0, z1, depth, generator) for _ in range(draws)])


def test_training_windows_hold_the_vertebra_and_every_such_window_is_drawn_alike():
    starts = _starts(100, 125, 40)
    counts = np.bincount(starts - 85)
    assert starts.min() == 85
    assert starts.max() == 100
    assert len(counts) == 16
    expected = 3000 / 16
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_training_window_of_a_vertebra_as_tall_as_the_window_is_that_vertebra():
    assert set(_starts(10, 50, 40, 50)) == {10}


def test_training_windows_of_a_taller_vertebra_lie_inside_it():
    assert set(_starts(10, 53, 40)) == {10, 11, 12, 13}


def test_training_windows_may_reach_beyond_the_volume():
    assert set(_starts(0, 38, 40)) == {-2, -1, 0}


@pytest.mark.parametrize(
    ("z0", "z1", "starts"),
    [
        (100, 125, [93]),  # 25 slices: 7 above, 8 below
        (100, 126, [93]),
        (0, 20, [-10]),
        (10, 50, [10]),
        (10, 51, [10, 11]),
        (10, 90, [10, 50]),
        (10, 91, [10, 30, 51]),
    ],
)
def test_validation_windows(z0, z1, starts):
    assert validation_window_starts(z0, z1, 40) == starts


@pytest.mark.parametrize("height", range(1, 200))
def test_validation_windows_leave_no_slice_out(height):
    starts = validation_window_starts(7, 7 + height, 24)
    seen = {z for start in starts for z in range(start, start + 24)}
    assert set(range(7, 7 + height)) <= seen
    assert len(set(starts)) == len(starts)
    if height > 24:
        assert starts[0] == 7
        assert starts[-1] + 24 == 7 + height


@pytest.mark.parametrize(("z0", "z1"), [(100, 125), (10, 50), (10, 90)])
def test_reach_holds_all_windows_and_no_more(z0, z1):
    starts = [*_starts(z0, z1, 40), *validation_window_starts(z0, z1, 40)]
    assert window_reach(z0, z1, 40) == (min(starts), max(starts) + 40)
