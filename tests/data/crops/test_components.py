import numpy as np
import pytest

from spine_models.data.crops.components import STRAY_MM, without_small_components

MAIN = (10, 20, 10, 20, 10, 20)


def mask_of(*boxes):
    mask = np.zeros((50, 50, 50), np.uint8)
    for z0, z1, y0, y1, x0, x1 in boxes:
        mask[z0:z1, y0:y1, x0:x1] = 3
    return mask


def box_of(*boxes, spacing=(1.0, 1.0, 1.0)):
    _, found, counts = without_small_components(mask_of(*boxes), spacing, 0.1)
    assert counts == {"C3": len(boxes)}
    return found["C3"]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("gap", "is_part"), [(15, True), (16, False)])
def test_pieces_of_a_vertebra_stay_together_and_strays_do_not(axis, gap, is_part):
    assert STRAY_MM == 15
    piece = list(MAIN)
    piece[2 * axis : 2 * axis + 2] = [20 + gap, 24 + gap]
    whole = list(MAIN)
    whole[2 * axis + 1] = 24 + gap
    assert box_of(MAIN, tuple(piece)) == (tuple(whole) if is_part else MAIN)


def test_a_stray_before_the_vertebra_is_one_too():
    assert box_of((30, 40, 30, 40, 30, 40), (10, 14, 30, 40, 30, 40)) == (30, 40, 30, 40, 30, 40)
    assert box_of((30, 40, 30, 40, 30, 40), (11, 15, 30, 40, 30, 40)) == (11, 40, 30, 40, 30, 40)


def test_without_a_limit_every_part_is_in_the_box():
    _, found, _ = without_small_components(mask_of(MAIN, (40, 44, 40, 44, 40, 44)), (1.0, 1.0, 1.0), 0.0, stray_mm=None)
    assert found["C3"] == (10, 44, 10, 44, 10, 44)


def test_distance_is_in_millimetres_and_straight():
    corner = (29, 32, 32, 36, 10, 20)  # 9 and 12 voxels away along z and y: 15 in a straight line
    assert box_of(MAIN, corner) == (10, 32, 10, 36, 10, 20)
    assert box_of(MAIN, corner, spacing=(1.0, 1.01, 1.0)) == MAIN
    assert box_of(MAIN, (40, 44, 10, 20, 10, 20), spacing=(0.75, 1.0, 1.0)) == (10, 44, 10, 20, 10, 20)


def test_parts_are_measured_from_the_largest_and_the_first_of_equal_ones():
    assert box_of((0, 4, 0, 10, 0, 10), (30, 40, 0, 10, 0, 10)) == (30, 40, 0, 10, 0, 10)
    assert box_of((0, 10, 0, 10, 0, 10), (30, 40, 0, 10, 0, 10)) == (0, 10, 0, 10, 0, 10)


@pytest.mark.parametrize(("side", "kept"), [(9, False), (10, True)])
def test_a_removed_component_is_no_part_of_the_box(side, kept):
    mask = mask_of(MAIN, (23, 24, 10, 20, 10, 10 + side))  # 90 or 100 voxels of 1000
    before = mask.copy()
    cleaned, boxes, counts = without_small_components(mask, (1.0, 1.0, 1.0), 0.1)
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(cleaned, mask if kept else mask_of(MAIN))
    assert boxes == {"C3": (10, 24, 10, 20, 10, 20) if kept else MAIN}
    assert counts == {"C3": 2 if kept else 1}


def test_voxels_that_touch_by_a_corner_are_one_component():
    mask = mask_of(MAIN)
    mask[20, 20, 20] = 3
    cleaned, boxes, counts = without_small_components(mask, (1.0, 1.0, 1.0), 0.1)
    np.testing.assert_array_equal(cleaned, mask)
    assert boxes == {"C3": (10, 21, 10, 21, 10, 21)}
    assert counts == {"C3": 1}


def test_other_levels_in_the_box_are_left_alone():
    mask = mask_of(MAIN)
    mask[12, 12, 12] = 4
    cleaned, boxes, _ = without_small_components(mask, (1.0, 1.0, 1.0), 0.1)
    np.testing.assert_array_equal(cleaned, mask)
    assert boxes == {"C3": MAIN, "C4": (12, 13, 12, 13, 12, 13)}
