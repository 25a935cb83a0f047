import numpy as np

from spine_models.data.crops.boxes import (
    box_at,
    box_from_json,
    box_slices,
    corner_of,
    level_boxes,
    level_voxels,
    union_of,
)
from tests.data.sample_files import spine_mask

BOX = (1, 3, 4, 8, 9, 15)


def test_boxes_and_voxels_of_a_mask():
    mask = spine_mask(levels=("C1", "C7"))
    assert level_boxes(mask) == {"C1": (2, 10, 10, 18, 12, 20), "C7": (50, 58, 10, 18, 12, 20)}
    assert level_voxels(mask) == {"C1": 512, "C7": 512}


def test_what_lies_beyond_the_seven_levels_is_none_of_them():
    mask = np.full((2, 2, 2), 8, np.uint8)
    assert level_boxes(mask) == {}
    assert level_voxels(mask) == {}
    assert level_boxes(np.zeros((2, 2, 2), np.uint8)) == {}
    assert level_voxels(np.zeros((2, 2, 2), np.uint8)) == {}


def test_voxels_are_counted_in_a_mask_of_any_shape():
    assert level_voxels(np.array([1, 0, 7, 7], np.uint8)) == {"C1": 1, "C7": 2}


def test_a_box_cuts_out_what_it_was_taken_of():
    array = np.zeros((5, 10, 20), np.uint8)
    array[box_slices(BOX)] = 3
    assert array.sum() == 3 * 2 * 4 * 6
    assert level_boxes(array) == {"C3": BOX}


def test_a_part_of_a_box_is_placed_by_the_boxs_corner():
    assert corner_of(BOX) == (1, 4, 9)
    assert box_at(corner_of(BOX), (slice(0, 1), slice(1, 3), slice(2, 6))) == (1, 2, 5, 7, 11, 15)


def test_a_stored_box_comes_back():
    assert box_from_json([1, 3.0, 4, 8, 9, 15]) == BOX


def test_the_union_holds_all_boxes_and_no_more():
    assert union_of([BOX]) == BOX
    assert union_of([BOX, (0, 2, 5, 9, 8, 14), (2, 4, 3, 7, 10, 16)]) == (0, 4, 3, 9, 8, 16)
