"""What is no neck in CT is no answer, and what is one stays one."""

import numpy as np
import pytest
from scipy import ndimage

from spine_models.data.crops.plausibility import PlausibilitySettings, check_mask
from spine_models.inference.implausible import implausible
from spine_models.levels import LEVELS

SPACING = (2.0, 1.0, 1.0)
SETTINGS = PlausibilitySettings(min_component_fraction=0.1, fallback="neighbours")


def neck(levels=LEVELS, bone=350, height=8):
    """Return a volume with an airway and a block of 16 x 40 x 50 mm for each level, and its mask."""
    mask = np.zeros((8 + 10 * len(LEVELS), 96, 96), np.uint8)
    for place, level in enumerate(levels):
        start = 4 + 10 * place
        mask[start : start + height, 30:70, 20:70] = LEVELS.index(level) + 1
    half = np.full(mask.shape, 40, np.int16)
    half[:, 10:20, 40:50] = -990
    half[mask > 0] = bone
    return half, mask


def reasons(half, mask):
    mask, shown = check_mask(mask, SPACING, SETTINGS)
    return implausible(shown, half, mask)


def test_a_neck_is_an_answer():
    assert reasons(*neck()) == ()


@pytest.mark.parametrize("levels", [LEVELS[:3], LEVELS[4:], ("C2", "C3"), ("C3", "C5", "C6")])
def test_a_part_of_a_neck_is_an_answer(levels):
    assert reasons(*neck(levels)) == ()


def test_metal_and_a_border_take_no_answer_away():
    half, mask = neck()
    half[:, :6], half[30:50, 40:44, 80:84] = -1024, 3071
    half[20:24, 40:44, 40:44] = 3071
    assert reasons(half, mask) == ()


def test_a_mask_that_shows_nothing_has_a_status_of_its_own():
    half, mask = neck(())
    assert reasons(half, mask) == ()


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("is air", lambda half, mask: (np.maximum(half, 0), mask)),
        ("is air", lambda half, mask: ((half + 1024) // 4, mask)),
        ("is air", lambda half, mask: (half // 2, mask)),
        ("is air", lambda half, mask: (np.where(half == -990, -1024, half).astype(np.int16), mask)),
        ("mean of 1400 HU", lambda half, mask: (4 * half, mask)),
        ("mean of 40 HU", lambda half, mask: (np.minimum(half, 40), mask)),
        ("only C7 is visible", lambda half, mask: (half, np.where(mask == 7, mask, 0).astype(np.uint8))),
        ("does not lie below", lambda half, mask: (half[::-1], mask[::-1])),
        ("does not lie below", lambda half, mask: (half, np.choose(mask, [0, 1, 2, 5, 4, 3, 6, 7]).astype(np.uint8))),
        ("mm wide", lambda half, mask: (half.repeat(3, axis=2), mask.repeat(3, axis=2))),
        ("mm high", lambda half, mask: (half.repeat(5, axis=0), mask.repeat(5, axis=0))),
        ("mm deep", lambda half, mask: (half[:, ::3], mask[:, ::3])),
    ],
)
def test_what_is_no_neck_in_ct_is_no_answer(why, change):
    assert why in "; ".join(reasons(*change(*neck())))


def test_a_level_or_two_that_a_network_missed_a_part_of_take_no_answer_away():
    half, mask = neck()
    for level in (3, 6):
        mask[np.flatnonzero((mask == level).any(axis=(1, 2)))[6:]] = 0  # 12 mm high
    assert reasons(half, mask) == ()
    mask[np.flatnonzero((mask == 5).any(axis=(1, 2)))[6:]] = 0
    assert len(reasons(half, mask)) == 3


def test_patches_with_the_name_of_a_level_that_is_elsewhere_or_not_there_take_no_answer_away():
    half, mask = neck(("C4", "C5", "C6"))
    mask[30:36, 30:50, 20:40] = LEVELS.index("C1") + 1
    mask[4:8, 60:70, 20:40] = LEVELS.index("C7") + 1
    assert reasons(half, mask) == ()


def tailed():
    """Return a neck whose vertebrae have a spinous process behind a wide body, and no box's symmetry."""
    half, mask = neck()
    whole = mask.copy()
    mask[:] = 0
    mask[:, 30:50, 25:65] = whole[:, 30:50, 25:65]
    mask[:, 50:70, 42:48] = whole[:, 50:70, 42:48]
    half[(whole > 0) & (mask == 0)] = 40
    return half, mask


def turned(quarters):
    half, mask = tailed()
    return np.rot90(half, quarters, (1, 2)), np.ascontiguousarray(np.rot90(mask, quarters, (1, 2)))


def test_vertebrae_with_a_spinous_process_behind_are_an_answer():
    assert reasons(*tailed()) == ()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_slices_that_are_turned_are_no_answer(quarters):
    (reason,) = reasons(*turned(quarters))
    assert reason == (
        "the vertebrae do not reach further to the back than to the sides: the slices are turned, or these are none"
    )


def test_a_turn_by_less_than_half_a_quarter_takes_no_answer_away():
    """A head that is held askew."""
    half, mask = tailed()
    askew = ndimage.rotate(mask, 30, (1, 2), reshape=False, order=0)
    half = ndimage.rotate(half, 30, (1, 2), reshape=False, order=0, mode="nearest")
    assert reasons(half, askew) == ()


def test_halved_values_with_a_border_are_no_answer():
    """The border of a halved volume lies where air would be, so that some air is there."""
    half, mask = neck()
    half[:, :8] = -990
    halved = half // 2
    halved[:, :1] = -900
    assert "have a median" not in "; ".join(reasons(half, mask))
    (reason,) = reasons(halved, mask)
    assert reason == (
        "what is darker than tissue has a median of -495 HU, where air has -1000: the values are not Hounsfield units"
    )
