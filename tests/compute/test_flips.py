"""Flips: each its own inverse, and the mean of what they give."""

import pytest
import torch

from spine_models.compute.flips import AXES, flipped, mean_over_flips

IMAGE = torch.arange(2.0 * 3 * 4 * 5).reshape(2, 1, 3, 4, 5)


@pytest.mark.parametrize("flip", AXES)
def test_twice_gives_the_input(flip):
    assert torch.equal(flipped(flipped(IMAGE, flip), flip), IMAGE)


def test_horizontal_turns_left_to_right_and_nothing_else():
    assert flipped(torch.tensor([[1, 2], [3, 4]]), "horizontal").tolist() == [[2, 1], [4, 3]]
    turned = flipped(IMAGE, "horizontal")
    assert all(torch.equal(turned[..., x], IMAGE[..., 4 - x]) for x in range(5))
    assert torch.equal(flipped(IMAGE, "none"), IMAGE)


def test_voxels_are_turned_back_before_the_mean_and_values_of_an_image_are_not():
    def leftmost(image):
        marked = torch.zeros_like(image)
        marked[..., 0] = 1.0
        return marked

    found = mean_over_flips(IMAGE, ("none", "horizontal"), leftmost, spatial=True)
    assert found[0, 0, 0, 0].tolist() == [0.5, 0.0, 0.0, 0.0, 0.5]
    corners = mean_over_flips(IMAGE, ("none", "horizontal"), lambda image: image[:, 0, 0, 0, 0], spatial=False)
    assert corners.tolist() == [(0 + 4) / 2, (60 + 64) / 2]


def test_one_flip_alone_is_what_it_gives():
    found = mean_over_flips(IMAGE, ("horizontal",), lambda image: image[:, 0, 0, 0, 0].double(), spatial=False)
    assert found.tolist() == [4.0, 64.0]
    assert found.dtype == torch.float64
