"""The half-size volume: what a slice becomes, at the challenge's size and at others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from spine_models.data.dicom.half import half_affine, half_slice, half_volume


def test_half_size_of_the_challenges_odd_sizes() -> None:
    """519 columns: the factor is the same along both axes, so that a box maps through one number.

    The mean of pixels that are partly covered is off the ramp of 10 HU a row by up to an eighth of a row.
    """
    linear = np.add.outer(np.arange(512) * 10, np.arange(519)).astype(np.int16)
    half = half_slice(linear, 256 / 519)
    assert half.shape == (253, 256)
    at = np.minimum((np.arange(253) + 0.5) * 519 / 256 - 0.5, 511)
    assert half[:, 128] == pytest.approx(at * 10 + (128.5 * 519 / 256 - 0.5), abs=1.25 + 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_at_exactly_half_both_ways_to_resize_are_equal(seed) -> None:
    """So that nothing changes for the challenge's 512 x 512 pixels."""
    pixels = np.random.default_rng(seed).integers(-32768, 32767, (512, 512), np.int16, endpoint=True)
    linear = cv2.resize(pixels.astype(np.float32), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(half_slice(pixels, 0.5), np.rint(linear).astype(np.int16))


@pytest.mark.parametrize("side", [512, 519, 600, 768, 1024])
def test_a_fine_pattern_becomes_its_mean_and_does_not_alias(side) -> None:
    """Alternating rows of 0 and 3000: what is left is 1500, give or take what a block has of an odd row."""
    pixels = np.zeros((side, side), np.int16)
    pixels[::2] = 3000
    half = half_slice(pixels, 256 / side)
    assert half.shape == (256, 256)
    block = side / 256
    odd = min(block % 2, 2 - block % 2)
    assert np.abs(half - 1500).max() <= 1500 * odd / block + 0.5
    assert half.mean() == pytest.approx(3000 * np.mean(pixels[:, 0] > 0), abs=0.5)


def test_a_slice_that_is_made_larger_is_interpolated_linearly() -> None:
    """Pixel h of four is centred at (h + 0.5) / 2 - 0.5 of two."""
    assert half_slice(np.array([[0, 400], [0, 400]], np.int16), 2.0)[1].tolist() == [0, 100, 300, 400]
    assert half_slice(np.tile(np.array([0, 400, 800], np.int16), (3, 1)), 2 / 3)[0].tolist() == [100, 700]


@pytest.mark.parametrize(("shape", "inner"), [((3, 8, 6), (3, 4, 3)), ((2, 6, 9), (2, 3, 4)), ((2, 5, 5), (2, 4, 4))])
def test_the_rest_is_air_and_counts_for_no_statistics(shape, inner) -> None:
    full = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    half = half_volume(full, 4)
    assert half.voxels.dtype == half_slice(full[0], 0.5).dtype == np.int16
    assert half.voxels.shape == (shape[0], 4, 4)
    assert half.inner_shape == inner
    inside = half.voxels[:, : inner[1], : inner[2]]
    np.testing.assert_array_equal(inside[1], half_slice(full[1], 4 / max(shape[1:])))
    assert half.mean == pytest.approx(inside.mean())
    assert half.std == pytest.approx(inside.std())
    assert (half.voxels[:, inner[1] :] == -1000).all()
    assert (half.voxels[:, :, inner[2] :] == -1000).all()


@pytest.mark.parametrize("factor", [0.5, 256 / 519, 2.0])
def test_both_grids_begin_at_the_same_corner_and_an_edge_at_e_lies_at_e_by_the_factor(factor) -> None:
    """Whole coordinates are centres of pixels: the edge before pixel e is at e - 0.5."""
    affine = np.eye(4)
    affine[:3] = np.random.default_rng(3).normal(size=(3, 4))
    half = half_affine(affine, factor)
    for z, y, x in ((0, 0, 0), (3, 0, 5), (7, 256, 2)):
        at_full = affine @ [z, y / factor - 0.5, x / factor - 0.5, 1]
        np.testing.assert_allclose(half @ [z, y - 0.5, x - 0.5, 1], at_full, rtol=1e-12)
