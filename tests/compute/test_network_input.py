"""What networks see is made of what travels, to the last bit and without a change of it."""

import numpy as np
import torch

from spine_models.compute.network_input import classifier_input, standardised

RANDOM = np.random.default_rng(3)
IMAGE = RANDOM.integers(np.iinfo(np.int16).min, np.iinfo(np.int16).max, (3, 4, 5, 6), dtype=np.int16)
MASK = RANDOM.integers(0, 8, IMAGE.shape, dtype=np.uint8)
MEANS, STDS = np.array([-400.3, 12.7, 0.0], np.float32), np.array([517.9, 3.0, 1000.0], np.float32)


def _expected(number):
    """One image, as numpy standardises it in float32."""
    return (IMAGE[number].astype(np.float32) - MEANS[number]) / STDS[number]


def test_images_are_standardised_each_by_its_own_volume():
    given = torch.from_numpy(IMAGE.copy())
    found = standardised(given, torch.from_numpy(MEANS), torch.from_numpy(STDS))
    assert found.dtype == torch.float32
    for number in range(len(IMAGE)):
        np.testing.assert_array_equal(found[number].numpy(), _expected(number))
    np.testing.assert_array_equal(given.numpy(), IMAGE)


def test_an_image_that_is_float_already_stays_as_it_is():
    given = torch.from_numpy(IMAGE.astype(np.float32))
    found = standardised(given, torch.from_numpy(MEANS), torch.from_numpy(STDS))
    np.testing.assert_array_equal(found[1].numpy(), _expected(1))
    np.testing.assert_array_equal(given.numpy(), IMAGE.astype(np.float32))


def test_numbers_of_double_precision_are_rounded_before_they_are_used():
    """A list of Python's numbers becomes float64; the result must not depend on that."""
    found = standardised(torch.from_numpy(IMAGE), torch.from_numpy(MEANS).double(), torch.from_numpy(STDS).double())
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found[0].numpy(), _expected(0))


def test_a_classifier_sees_the_image_twice_and_the_levels_as_numbers():
    parts = (torch.from_numpy(part) for part in (IMAGE, MASK, MEANS, STDS))
    channels = classifier_input(*parts).numpy()
    assert channels.shape == (3, 3, 4, 5, 6) and channels.dtype == np.float32
    for number in range(len(IMAGE)):
        np.testing.assert_array_equal(channels[number, 0], _expected(number))
        np.testing.assert_array_equal(channels[number, 1], channels[number, 0])
        np.testing.assert_array_equal(channels[number, 2], MASK[number])
