from dataclasses import replace

import numpy as np
import pytest

from spine_models.data.crops.mask_facts import FlagCode, MaskFacts
from spine_models.data.crops.plausibility import PlausibilitySettings, check_mask
from spine_models.levels import LEVELS
from tests.data.sample_files import spine_mask

SETTINGS = PlausibilitySettings(min_component_fraction=0.1, fallback="neighbours")
SPACING = (3.0, 4.0, 4.0)  # blocks of 8 voxels: 24 mm high, 32 mm deep and wide


def _codes(mask, settings=SETTINGS, spacing=SPACING):
    _, shown = check_mask(mask, spacing, settings)
    return {(str(flag.code), flag.level) for flag in shown.flags}


def test_a_plausible_spine_has_no_flag():
    mask = spine_mask()
    cleaned, shown = check_mask(mask, SPACING, SETTINGS)
    np.testing.assert_array_equal(cleaned, mask)
    assert shown.flags == ()
    assert shown.levels == dict.fromkeys(LEVELS, "visible")
    assert shown.voxels == dict.fromkeys(LEVELS, 512)


def test_an_empty_mask_has_no_level():
    _, shown = check_mask(spine_mask(levels=()), SPACING, SETTINGS)
    assert [flag.code for flag in shown.flags] == [FlagCode.NO_LEVEL]
    assert shown.levels == dict.fromkeys(LEVELS, "missing")
    assert shown.boxes == {}


def test_small_components_are_removed_and_the_given_mask_stays_as_it_was():
    mask = spine_mask()
    mask[0:2, 28, 25:31] = 4  # 12 voxels of 512
    before = mask.copy()
    cleaned, shown = check_mask(mask, SPACING, SETTINGS)
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(cleaned, spine_mask())
    assert shown.boxes["C4"] == (26, 34, 10, 18, 12, 20)
    assert shown.flags == ()


@pytest.mark.parametrize(("voxels", "kept"), [(51, False), (52, True)])
def test_a_component_of_a_tenth_stays_and_is_flagged(voxels, kept):
    mask = spine_mask()
    mask[29].reshape(-1)[-voxels:] = 4  # 10 % of 512 voxels is 51.2
    assert (("several_components", "C4") in _codes(mask)) is kept


@pytest.mark.parametrize("at", [(2, 0, 0), (29, 0, 28), (50, 28, 0)])
def test_a_stray_part_is_flagged_and_leaves_boxes_as_they_are_without_it(at):
    stray = spine_mask()
    z, y, x = at
    stray[z : z + 4, y : y + 4, x : x + 4] = 4  # 64 voxels of 512, 16 mm and more away from the vertebra
    _, expected = check_mask(spine_mask(), SPACING, SETTINGS)
    cleaned, found = check_mask(stray, SPACING, SETTINGS)
    assert found.boxes == expected.boxes
    assert [(flag.code, flag.level) for flag in found.flags] == [(FlagCode.SEVERAL_COMPONENTS, "C4")]
    np.testing.assert_array_equal(cleaned, stray)


def test_a_stray_part_can_stretch_its_box():
    mask = spine_mask()
    mask[50:54, 28:32, 0:4] = 4
    _, found = check_mask(mask, SPACING, replace(SETTINGS, stray_mm=None))
    _, z1, _, y1, x0, _ = found.boxes["C4"]
    assert (z1, y1, x0) == (54, 32, 0)


def test_voxels_that_touch_by_a_corner_are_one_component():
    mask = spine_mask(levels=("C3",))
    mask[26, 18, 20] = 3
    cleaned, _ = check_mask(mask, SPACING, SETTINGS)
    assert cleaned[26, 18, 20] == 3


def test_levels_out_of_order_are_flagged():
    mask = spine_mask()
    swapped = mask.copy()
    swapped[mask == 3], swapped[mask == 4] = 4, 3
    assert _codes(swapped) == {("out_of_order", "C4")}


def test_order_is_that_of_the_centres_not_of_the_boxes():
    mask = spine_mask()
    mask[18:40, 18, 12] = 3  # a thin process of C3 reaches far down
    assert ("out_of_order", "C4") not in _codes(mask)


def test_a_missing_level_is_a_gap_and_is_interpolated():
    mask = spine_mask(levels=("C2", "C5", "C6"))
    mask[mask == 6] = 0
    mask[42:50, 14:26, 12:20] = 6
    _, shown = check_mask(mask, SPACING, SETTINGS)
    assert {(flag.code, flag.level) for flag in shown.flags} == {
        (code, level) for code in (FlagCode.GAP, FlagCode.INTERPOLATED) for level in ("C3", "C4")
    }
    assert shown.levels == {
        "C1": "missing",
        "C2": "visible",
        "C3": "interpolated",
        "C4": "interpolated",
        "C5": "visible",
        "C6": "visible",
        "C7": "missing",
    }
    assert shown.boxes["C3"] == (18, 26, 10, 18, 12, 20)  # where it would be: levels are 8 slices apart
    assert shown.boxes["C4"] == (26, 34, 10, 18, 12, 20)
    assert "C3" not in shown.voxels


def test_without_the_fallback_a_missing_level_stays_missing():
    mask = spine_mask(levels=("C3", "C5"))
    _, shown = check_mask(mask, SPACING, PlausibilitySettings(0.1, "none"))
    assert [(flag.code, flag.level) for flag in shown.flags] == [(FlagCode.GAP, "C4")]
    assert shown.levels["C4"] == "missing"
    assert "C4" not in shown.boxes


@pytest.mark.parametrize(
    ("spacing", "code"),
    [
        ((1.8, 4.0, 4.0), "too_small"),  # 14.4 mm high
        ((9.5, 4.0, 4.0), "too_large"),  # 76 mm
        ((3.0, 1.8, 4.0), "too_small"),  # 14.4 mm deep
        ((3.0, 14.0, 4.0), "too_large"),  # 112 mm
        ((3.0, 4.0, 2.4), "too_small"),  # 19.2 mm wide
        ((3.0, 4.0, 15.1), "too_large"),  # 120.8 mm
    ],
)
def test_sizes_are_judged_in_millimetres(spacing, code):
    assert _codes(spine_mask(), spacing=spacing) == {(code, level) for level in LEVELS}


def test_a_level_that_the_volume_cuts_off_may_be_small():
    mask = spine_mask()[4:52]  # 6 slices of C1 and 2 of C7 are left
    assert _codes(mask, spacing=(2.0, 4.0, 4.0)) == {("cut_off", "C1"), ("cut_off", "C7")}


def test_facts_are_json_with_plain_codes():
    import json

    _, shown = check_mask(spine_mask(levels=("C3", "C5")), SPACING, SETTINGS)
    facts = json.loads(json.dumps(shown.to_json()))
    assert MaskFacts.from_json(facts) == shown
    assert facts["boxes"]["C4"] == [26, 34, 10, 18, 12, 20]
    assert [flag["code"] for flag in facts["flags"]] == ["gap", "interpolated"]
    assert all(flag["level"] in flag["sentence"] for flag in facts["flags"])
