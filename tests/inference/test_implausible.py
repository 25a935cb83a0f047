"""What is no neck in CT is no answer, and what is one stays one."""

import numpy as np
import pytest

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
