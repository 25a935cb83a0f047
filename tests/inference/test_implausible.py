"""What is not a neck in CT is not an answer, and what is one stays one."""

import numpy as np
import pytest
from scipy import ndimage

from spine_models.data.crops.plausibility import PlausibilitySettings, check_mask
from spine_models.data.phantom.dataset import render_study
from spine_models.data.phantom.plan import plan_dataset
from spine_models.data.phantom.settings import PhantomSettings
from spine_models.inference.implausible import doubts, implausible
from spine_models.levels import LEVELS

HU_LIMITS = (-1024, 3071)
SPACING = (2.0, 1.0, 1.0)
SETTINGS = PlausibilitySettings(min_component_fraction=0.1, fallback="neighbours")


def neck(levels=LEVELS, bone=350, height=8):
    """Return a volume with an airway and, for each level, a block of 16 x 40 x 50 mm with a process; and its mask."""
    mask = np.zeros((8 + 10 * len(LEVELS), 96, 96), np.uint8)
    for place, level in enumerate(levels):
        start = 4 + 10 * place
        mask[start : start + height, 30:70, 20:70] = LEVELS.index(level) + 1
        mask[start : start + height, 70:85, 42:48] = LEVELS.index(level) + 1
    half = np.full(mask.shape, 40, np.int16)
    half[:, 10:20, 40:50] = -990
    half[mask > 0] = bone
    return half, mask


def reasons(half, mask):
    mask, shown = check_mask(mask, SPACING, SETTINGS)
    return implausible(shown, half, mask, SPACING)


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


def test_halved_values_with_a_border_are_no_answer():
    """What is mixed with the border is where air would be, so that some air seems to be there."""
    half, mask = neck()
    half[:, :10] = -1024
    halved = half // 2
    halved[:, :8], halved[:, 8:10] = -1024, -900
    assert reasons(half, mask) == ()
    (reason,) = reasons(halved, mask)
    assert reason.startswith("0% of what is lighter than -300 HU is air")


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
        ("soft tissue is 190 HU", lambda half, mask: (half + 150, mask)),
        ("the scan is 40 mm tall", lambda half, mask: (half[:20], mask[:20])),
        ("the scan is 468 mm tall", lambda half, mask: (half.repeat(3, axis=0), mask.repeat(3, axis=0))),
        ("next are 60 mm", lambda half, mask: (half.repeat(3, axis=0), mask.repeat(3, axis=0))),
        (
            "next are 2 mm",
            lambda half, mask: (half, np.where(mask == 1, 1, np.roll(mask == 1, 6, 0) * 7).astype(np.uint8)),
        ),
        ("mean of 1400 HU", lambda half, mask: (4 * half, mask)),
        ("mean of 40 HU", lambda half, mask: (np.minimum(half, 40), mask)),
        ("only C7 is visible", lambda half, mask: (half, np.where(mask == 7, mask, 0).astype(np.uint8))),
        ("mm above that of", lambda half, mask: (half[::-1], mask[::-1])),
        ("mm above that of", lambda half, mask: (half, np.choose(mask, [0, 1, 2, 5, 4, 3, 6, 7]).astype(np.uint8))),
        ("mm wide", lambda half, mask: (half.repeat(3, axis=2), mask.repeat(3, axis=2))),
        ("mm high", lambda half, mask: (half.repeat(5, axis=0), mask.repeat(5, axis=0))),
        ("mm deep", lambda half, mask: (half[:, ::5], mask[:, ::5])),
    ],
)
def test_what_is_no_neck_in_ct_is_no_answer(why, change):
    assert why in "; ".join(reasons(*change(*neck())))


def test_levels_that_change_places_by_less_than_a_slice_or_two_take_no_answer_away():
    half, mask = neck(LEVELS[:4])
    mask[20:44] = 0
    mask[24:42, 30:50, 20:70], mask[22:40, 51:80, 20:70] = 3, 4
    half[mask > 0] = 350
    assert reasons(half, mask) == ()
    mask[42:46, 30:50, 20:70] = 3
    assert "the centre of C4 lies 8 mm above that of C3" in reasons(half, mask)


def test_levels_too_near_to_each_other_are_a_doubt():
    half, mask = neck()
    mask, shown = check_mask(mask, SPACING, SETTINGS)
    assert doubts(shown, half, mask, SPACING) == ()
    (doubt,) = doubts(shown, half, mask, (1.0, 1.0, 1.0))
    assert "next are 10 mm" in doubt
    assert doubts(shown, half, mask, (1.3, 1.0, 1.0)) == ()


def test_patches_with_the_name_of_a_level_that_is_elsewhere_or_not_there_take_no_answer_away():
    half, mask = neck(("C4", "C5", "C6"))
    mask[30:36, 30:50, 20:40] = LEVELS.index("C1") + 1
    mask[4:8, 60:70, 20:40] = LEVELS.index("C7") + 1
    assert reasons(half, mask) == ()


# Phantoms as they are drawn, with their own labels as the mask: what is built of them needs no network.


@pytest.fixture(scope="module")
def phantoms():
    """Return five necks, every second one with metal, others with what scanners write outside their circle."""
    settings = PhantomSettings(
        studies=5, segmented=0, test_studies=0, defective=0, matrix=64, slice_mm=2.5, metal_share=0.4, border_share=0.4
    )
    drawn = [render_study(settings, plan)[0] for plan in plan_dataset(settings, seed=5)]
    return [
        (np.clip(one.hu, *HU_LIMITS), np.where(one.labels > len(LEVELS), 0, one.labels), one.grid.spacing_mm)
        for one in drawn
    ]


def reasons_of(half, mask, spacing):
    mask, shown = check_mask(np.ascontiguousarray(mask), spacing, SETTINGS)
    return implausible(shown, half, mask, spacing)


def turned(times):
    return lambda half, mask: (np.rot90(half, times, (1, 2)), np.rot90(mask, times, (1, 2)))


@pytest.mark.parametrize("part", [slice(None), slice(None, None, 2)])
def test_phantoms_are_answers_with_metal_and_borders_too(phantoms, part):
    for half, mask, (z, y, x) in phantoms:
        assert reasons_of(half[part], mask[part], (z * (part.step or 1), y, x)) == ()


def test_halves_of_phantoms_are_answers(phantoms):
    for half, mask, spacing in phantoms:
        middle = int(np.argwhere(mask)[:, 0].mean())
        for part in (slice(None, middle), slice(middle, None)):
            assert reasons_of(half[part], mask[part], spacing) == ()


@pytest.mark.parametrize("degrees", [-30, 20])
def test_a_turn_by_less_than_half_a_quarter_takes_no_answer_away(phantoms, degrees):
    """A head that is held askew."""
    half, mask, spacing = phantoms[1]
    askew = ndimage.rotate(half, degrees, (1, 2), reshape=False, order=1, mode="nearest")
    assert reasons_of(askew, ndimage.rotate(mask, degrees, (1, 2), reshape=False, order=0), spacing) == ()


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("more than left for right", turned(1)),
        ("more than left for right", turned(3)),
        ("point upwards", turned(2)),
        ("not thicker in front", turned(2)),
        # As a network names them that goes from top to bottom.
        ("point upwards", lambda half, mask: (half[::-1], np.where(mask > 0, 8 - mask, 0)[::-1].astype(np.uint8))),
        (
            "not thicker in front",
            lambda half, mask: (
                half[::-1, ::-1],
                np.where(mask > 0, 8 - mask, 0)[::-1, ::-1].astype(np.uint8),
            ),
        ),
        ("is air", lambda half, mask: (half // 2, mask)),
        ("not Hounsfield units", lambda half, mask: ((half + 1024) // 4, mask)),
        (
            "not Hounsfield units",
            lambda half, mask: (np.minimum(half.astype(np.int32) * 4, 3071).astype(np.int16), mask),
        ),
        ("vertebra has a mean", lambda half, mask: (half + 1024, mask)),
        (
            "is air",
            lambda half, mask: (np.where(half < -500, 0, np.where(half > 200, 120, 500)).astype(np.int16), mask),
        ),
        ("mm tall", lambda half, mask: (half[-12:], mask[-12:])),
    ],
)
def test_what_is_built_of_phantoms_is_no_answer(phantoms, why, change):
    for half, mask, spacing in phantoms:
        assert why in "; ".join(reasons_of(*change(half, mask), spacing))


def test_cylinders_and_empty_scans_are_no_answers(phantoms):
    half, mask, spacing = phantoms[0]
    _, rows, columns = np.indices(half.shape)
    spine = (rows - 40) ** 2 + (columns - 32) ** 2 < 36
    body = np.where((rows - 32) ** 2 + (columns - 32) ** 2 < 900, 40, -1000 + 7 * (rows % 2))
    levels = np.broadcast_to((np.arange(len(half)) * 7 // len(half) + 1)[:, None, None], half.shape)
    found = reasons_of(np.where(spine, 300, body).astype(np.int16), (spine * levels).astype(np.uint8), spacing)
    assert "not thicker in front" in "; ".join(found)
    assert "is air" in "; ".join(reasons_of(np.zeros_like(half), mask, spacing))
