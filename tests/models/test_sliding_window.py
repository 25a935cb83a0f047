"""Windows along z: where they are, where one takes over from the other, what is padded."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spine_models.models.sliding_window import plan_windows, sliding_window


class Recorder:
    """Predicts, for every voxel, the index of its window in channel 0 and its own value in channel 1."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.batches: list[int] = []

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        assert windows.shape[1] == 1
        self.batches.append(len(windows))
        numbers = torch.arange(len(self.seen), len(self.seen) + len(windows), dtype=windows.dtype)
        self.seen += list(windows[:, 0])
        return torch.cat([numbers.view(-1, 1, 1, 1, 1).expand_as(windows), windows], dim=1)


def a_volume(slices: int) -> torch.Tensor:
    return torch.arange(float(slices)).view(-1, 1, 1).expand(slices, 2, 3).contiguous()


def run(slices: int, window: int, overlap: int, z_multiple: int, batch: int = 1):
    recorder = Recorder()
    result = sliding_window(
        a_volume(slices), recorder, window=window, overlap=overlap, z_multiple=z_multiple, fill=-7.0, batch=batch
    )
    assert result.shape == (2, slices, 2, 3)
    assert torch.equal(result[1], a_volume(slices))
    ranges = [(int(seen[0, 0, 0]), len(seen)) for seen in recorder.seen]
    return result[0, :, 0, 0].int().tolist(), ranges, recorder


def test_seams_are_at_half_the_overlap():
    owners, ranges, _ = run(640, 384, 128, 32)
    assert ranges == [(0, 384), (256, 384)]
    # The windows share 256..383, so the second takes over at 320.
    assert owners == [0] * 320 + [1] * 320


def test_the_last_window_is_moved_back_and_its_seam_follows_the_overlap_that_there_is():
    owners, ranges, _ = run(704, 384, 128, 32)
    assert ranges == [(0, 384), (256, 384), (320, 384)]
    # The second and third share 320..639: the third takes over at 480.
    assert owners == [0] * 320 + [1] * 160 + [2] * 224


def test_validation_window_of_the_method():
    owners, _, _ = run(448, 256, 64, 32)
    assert owners == [0] * 224 + [1] * 224


def test_an_odd_overlap_is_halved_downwards():
    owners, ranges, _ = run(13, 8, 3, 1)
    assert ranges == [(0, 8), (5, 8)]
    assert owners == [0] * 6 + [1] * 7


def test_without_overlap_windows_follow_each_other():
    assert run(24, 8, 0, 8)[0] == [0] * 8 + [1] * 8 + [2] * 8


@pytest.mark.parametrize("slices", [1, 31, 32])
def test_a_short_volume_is_one_window_of_its_padded_length(slices):
    owners, _, recorder = run(slices, 384, 128, 32)
    assert owners == [0] * slices
    (seen,) = recorder.seen
    assert len(seen) == 32
    assert (seen[slices:] == -7.0).all()


def test_exactly_one_window():
    assert run(64, 64, 16, 32)[1] == [(0, 64)]


def test_padding_is_air_behind_the_last_slice_and_is_cut_off_again():
    owners, ranges, recorder = run(65, 64, 16, 32)
    assert ranges == [(0, 64), (32, 64)]
    assert owners == [0] * 48 + [1] * 17
    assert (recorder.seen[1][33:] == -7.0).all()
    assert recorder.seen[1][32, 0, 0] == 64


def test_a_window_that_holds_padding_alone_is_dropped():
    owners, ranges, _ = run(9, 4, 0, 16)
    assert [length for _, length in ranges] == [4] * 4
    assert owners == [0] * 4 + [1] * 4 + [2]


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_batches_of_windows_give_the_same(batch):
    owners, ranges, recorder = run(160, 32, 8, 32, batch)
    assert owners == run(160, 32, 8, 32)[0]
    assert len(ranges) == 7
    assert max(recorder.batches) == min(batch, 7)


def test_a_whole_network_sees_the_whole_plane():
    _, _, recorder = run(40, 32, 8, 8)
    assert {tuple(seen.shape[1:]) for seen in recorder.seen} == {(2, 3)}


@pytest.mark.parametrize(("window", "overlap"), [(8, 8), (8, -1), (0, 0)])
def test_impossible_windows_are_refused(window, overlap):
    with pytest.raises(ValueError, match=f"^no windows of {window} slices with overlap {overlap} over 20 slices$"):
        plan_windows(20, window, overlap)


def test_least_windows_and_volumes():
    assert [tuple(part) for part in plan_windows(1, 1, 0)] == [(0, 1, 0, 1)]
    assert [tuple(part) for part in plan_windows(2, 1, 0)] == [(0, 1, 0, 1), (1, 2, 1, 2)]
    assert plan_windows(8, 8, 7) == plan_windows(8, 9, 8)
    with pytest.raises(ValueError, match="over 0 slices"):
        plan_windows(0, 8, 0)


def test_one_window_at_once_unless_more_are_asked_for():
    recorder = Recorder()
    sliding_window(a_volume(16), recorder, window=8, overlap=0, z_multiple=8, fill=0.0)
    assert recorder.batches == [1, 1]


@given(slices=st.integers(1, 300), window=st.integers(1, 90), part=st.floats(0, 0.999))
def test_every_slice_is_kept_once_by_a_window_that_saw_it(slices, window, part):
    overlap = int(window * part)
    plan = plan_windows(slices, window, overlap)
    kept = [z for w in plan for z in range(w.keep_start, w.keep_stop)]
    assert kept == list(range(slices))
    assert all(w.start <= w.keep_start < w.keep_stop <= w.stop for w in plan)
    assert {w.stop - w.start for w in plan} == {min(window, slices)}
    assert all(a.stop - b.start >= overlap for a, b in itertools.pairwise(plan))
