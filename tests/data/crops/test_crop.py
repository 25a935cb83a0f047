import dataclasses

import numpy as np
import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.data.crops.crop import (
    CropSettings,
    classifier_crop,
    cut_window,
    predictable_levels,
    spine_crop,
    trainable_levels,
    validation_windows,
)
from spine_models.hounsfield import AIR_HU, whole_hu
from spine_models.levels import LEVELS
from tests.data.sample_files import CROPS, mask_facts, spine_mask

SETTINGS = CropSettings(**CROPS)


def _ramp(shape):
    """A volume whose value says where a voxel is, linear in y and x, other from slice to slice."""
    z, y, x = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")
    return (100 * (z % 7) + 4 * y + 2 * x).astype(np.int16)


def _crop(mask, full=None, half_factor=0.5, settings=SETTINGS, **statuses):
    if full is None:
        full = _ramp((mask.shape[0], *(round(side / half_factor) for side in mask.shape[1:])))
    crop = spine_crop(full, mask, volume_facts(half_factor=half_factor), mask_facts(mask, **statuses), settings)
    return full, crop


def test_crop_is_the_union_of_the_padded_boxes_with_the_slices_that_windows_need():
    mask = spine_mask(levels=("C3", "C4"))  # slices 18 to 34
    full, crop = _crop(mask)
    assert crop.mask_origin == (14, 6, 8)  # 26 - 12 slices; 10 - 4 rows; 12 - 4 columns
    assert crop.mask.shape == (38 - 14, 22 - 6, 24 - 8)  # up to 26 + 12
    assert crop.origin == (14, 12, 16)
    assert crop.image.shape == (24, 32, 32)
    np.testing.assert_array_equal(crop.image, full[14:38, 12:44, 16:48])
    np.testing.assert_array_equal(crop.mask, mask[14:38, 6:22, 8:24])
    assert crop.image.base is None


def test_crop_ends_with_the_volume():
    mask = np.zeros((20, 32, 32), np.uint8)
    mask[0:10, 0:6, 26:32] = 1
    _full, crop = _crop(mask)
    assert crop.mask_origin == (0, 0, 22)
    assert crop.mask.shape == (12, 10, 10)
    assert crop.origin == (0, 0, 44)
    assert crop.image.shape == (12, 20, 20)


def test_crop_of_a_long_volume_reaches_as_far_as_its_windows_need():
    mask = np.zeros((100, 32, 64), np.uint8)
    mask[86:94, 10:18, 0:8] = 3
    full, crop = _crop(mask)
    assert crop.mask_origin == (82, 6, 0)
    assert crop.mask.shape == (98 - 82, 16, 12)
    np.testing.assert_array_equal(crop.image, full[82:98, 12:44, :24])
    assert crop.spacing_mm == volume_facts().spacing_mm


def test_no_crop_without_a_usable_level():
    mask = spine_mask(levels=())
    mask[5, 5, 5 : 5 + CROPS["min_voxels"] - 1] = 3
    assert _crop(mask)[1] is None
    mask[5, 6, 5] = 3
    assert _crop(mask)[1] is not None


def test_levels_with_too_few_voxels_are_not_used_and_interpolated_ones_are_predicted_alone():
    levels = dict.fromkeys(LEVELS, "visible") | {"C3": "interpolated", "C4": "missing"}
    voxels = {"C1": 512, "C2": 511, "C5": 513, "C6": 10_000}
    assert trainable_levels(levels, voxels, 512) == ["C1", "C5", "C6"]
    assert trainable_levels(levels, {}, 1) == []
    assert predictable_levels(levels, voxels, 512) == ["C1", "C3", "C5", "C6"]


def test_window_is_the_padded_box_resized_by_its_longest_side_and_padded_evenly():
    mask = spine_mask()
    mask[:, 10:12] = 0  # boxes are now 6 rows by 8 columns: 14 by 16 with margins, 28 by 32 on the full grid
    full, crop = _crop(mask)
    window = cut_window(crop, "C3", 16, SETTINGS)
    assert window.image.shape == window.mask.shape == (12, 32, 32)
    assert np.all(window.image[:, [0, 1, 30, 31]] == AIR_HU)
    assert np.all(window.mask[:, [0, 1, 30, 31]] == 0)
    np.testing.assert_array_equal(window.image[:, 2:30], full[16:28, 16:44, 16:48])
    np.testing.assert_array_equal(window.mask[:, 2:30], mask[16:28, 8:22, 8:24].repeat(2, axis=1).repeat(2, axis=2))


def test_padding_is_even_on_both_sides_of_a_narrow_box():
    mask = spine_mask()
    mask[:, :, 12:14] = 0  # boxes are now 8 rows by 6 columns: 16 by 14 with margins, 32 by 28 on the full grid
    full, crop = _crop(mask)
    window = cut_window(crop, "C3", 16, SETTINGS)
    assert np.all(window.image[:, :, [0, 1, 30, 31]] == AIR_HU)
    np.testing.assert_array_equal(window.image[:, :, 2:30], full[16:28, 12:44, 20:48])


def test_a_box_of_hardly_any_rows_keeps_one():
    mask = np.zeros((20, 32, 64), np.uint8)
    mask[4:12, 10, 4:60] = 3
    settings = dataclasses.replace(SETTINGS, margin=0)
    _, crop = _crop(mask, settings=settings)
    window = cut_window(crop, "C3", 4, settings)  # 2 by 112 pixels: 32 columns, less than a row
    assert np.nonzero(window.mask[0].any(axis=1))[0].tolist() == [15]
    assert np.all(np.delete(window.image[0], 15, axis=0) == AIR_HU)


def test_images_are_enlarged_linearly_and_masks_by_the_nearest_voxel():
    mask = spine_mask()
    full = np.zeros((mask.shape[0], 64, 64), np.int16)
    full[:] = 100 * np.arange(64)
    settings = dataclasses.replace(SETTINGS, size=64)
    _, crop = _crop(mask, full, settings=settings)
    window = cut_window(crop, "C3", 16, settings)  # columns 16 to 48, each twice as wide
    centres = (np.arange(64) + 0.5) / 2 - 0.5
    expected = 1600 + 100 * np.clip(centres, 0, 31)
    np.testing.assert_allclose(window.image, np.broadcast_to(expected, (12, 64, 64)), atol=0.01)
    assert set(np.unique(window.mask)) <= {0, 2, 3, 4}


def test_edges_between_pixels_are_rounded_on_each_axis_by_itself():
    """At a factor of 0.4, row 6 begins with pixel 15 and column 9 in the middle of pixel 22."""
    mask = np.zeros((40, 26, 26), np.uint8)
    mask[18:26, 10:18, 13:21] = 3
    settings = dataclasses.replace(SETTINGS, size=40)
    full, crop = _crop(mask, half_factor=0.4, settings=settings)
    assert crop.origin[1:] == (15, 22)
    window = cut_window(crop, "C3", 16, settings)
    np.testing.assert_array_equal(window.image, full[16:28, 15:55, 23:63])


def test_the_stored_image_covers_pixels_that_the_region_covers_in_part():
    """At a factor of 0.75, rows 2 to 10 are pixels 2.7 to 13.3, and columns 5 to 13 are 6.7 to 17.3."""
    mask = np.zeros((40, 24, 24), np.uint8)
    mask[18:26, 2:10, 5:13] = 3
    full, crop = _crop(mask, half_factor=0.75, settings=dataclasses.replace(SETTINGS, margin=0))
    np.testing.assert_array_equal(crop.image, full[14:30, 2:14, 6:18])


def test_the_last_rows_of_a_plane_are_part_of_the_crop_where_they_are_a_part_of_a_voxel():
    """53 rows at a factor of 0.25: 13.25 rows of the half grid, of which the last is padded."""
    mask = np.zeros((40, 20, 20), np.uint8)
    mask[18:26, 6:13, 6:14] = 3
    full, crop = _crop(mask, _ramp((40, 53, 80)), half_factor=0.25)
    np.testing.assert_array_equal(crop.image, full[14:30, 8:53, 8:72])


@pytest.mark.parametrize("margin", [0, 3, 4])
def test_the_margin_is_equal_on_all_four_sides(margin):
    """The crop holds another vertebra all around, so that its own borders cut nothing off."""
    mask = spine_mask(levels=("C3",))
    mask[30:34, 0:32, 0:32] = 4
    settings = dataclasses.replace(SETTINGS, margin=margin, size=2 * (8 + 2 * margin))
    full, crop = _crop(mask, settings=settings)
    window = cut_window(crop, "C3", 16, settings)
    rows, columns = (slice(2 * (first - margin), 2 * (first + 8 + margin)) for first in (10, 12))
    np.testing.assert_array_equal(window.image, full[16:28, rows, columns])
    np.testing.assert_array_equal(window.mask, (mask[16:28].repeat(2, axis=1).repeat(2, axis=2))[:, rows, columns])


@pytest.mark.parametrize("size", [16, 48, 64, 100])
def test_resizing_keeps_image_and_mask_in_register(size):
    mask = spine_mask()
    settings = dataclasses.replace(SETTINGS, size=size)
    full = np.where(mask.repeat(2, axis=1).repeat(2, axis=2) == 3, 1000, -1000).astype(np.int16)
    _, crop = _crop(mask, full, settings=settings)
    window = cut_window(crop, "C3", 16, settings)
    assert np.mean((window.image > 0) == (window.mask == 3)) > 0.98
    rows = np.nonzero((window.mask == 3).any(axis=(0, 2)))[0]
    assert abs((rows[0] + rows[-1] + 1) / 2 - size / 2) <= 0.5  # the vertebra sits in the middle


@pytest.mark.parametrize(("rows", "columns", "half"), [(52, 51, 26), (76, 76, 26), (64, 40, 32)])
def test_windows_of_other_sizes_map_through_the_half_factor(rows, columns, half):
    """The scaled-down cases of 519 x 512, 768 x 768 and a plane that is not square, padded to a square half grid."""
    factor = half / max(rows, columns)
    full = np.full((60, rows, columns), -1000, np.int16)
    low, high = (round(10 / factor), round(12 / factor)), (round(18 / factor), round(20 / factor))
    full[18:26, low[0] : high[0], low[1] : high[1]] = 1000
    mask = np.zeros((60, half, half), np.uint8)
    mask[18:26, 10:18, 12:20] = 3
    settings = dataclasses.replace(SETTINGS, size=64)
    _, crop = _crop(mask, full, half_factor=factor, settings=settings)
    assert crop.image.shape[1:] <= (rows, columns)
    window = cut_window(crop, "C3", 16, settings)
    assert np.mean((window.image > 0) == (window.mask == 3)) > 0.96
    assert (window.mask == 3).sum() > 0


def test_slices_beyond_the_volume_are_air_and_background():
    mask = spine_mask(depth=60)
    full, crop = _crop(mask)
    window = cut_window(crop, "C1", -5, SETTINGS)
    assert np.all(window.image[:5] == AIR_HU)
    assert np.all(window.mask[:5] == 0)
    np.testing.assert_array_equal(window.image[5:], full[0:7, 12:44, 16:48])
    end = cut_window(crop, "C7", 53, SETTINGS)
    assert np.all(end.image[7:] == AIR_HU)
    np.testing.assert_array_equal(end.image[:7], full[53:60, 12:44, 16:48])


def test_slices_beyond_the_volume_and_the_padding_can_hold_the_mean_and_the_stored_zero():
    mask = spine_mask(depth=60)
    mask[:, 10:12] = 0  # 28 by 32 pixels with margins: two rows of padding on each side
    settings = dataclasses.replace(SETTINGS, plane_fill="raw_zero", z_fill="mean")
    _, crop = _crop(mask, settings=settings)
    window = cut_window(crop, "C1", -5, settings)
    assert np.all(window.image[5:, [0, 1, 30, 31]] == -1024.0)
    assert np.all(window.image[:5] == crop.mean)
    assert np.all(window.mask[:5] == 0)
    default = cut_window(crop, "C1", -5, SETTINGS)
    np.testing.assert_array_equal(window.image[5:, 2:30], default.image[5:, 2:30])
    assert np.all(default.image[:5] == AIR_HU)


def test_a_clamped_window_begins_with_the_volume():
    mask = spine_mask()  # C1 at slices 2 to 10: centred, its window of 12 begins at 0
    mask[:, :, 12:20] = np.roll(mask[:, :, 12:20], -2, axis=0)  # at 0 to 8, it begins at -2
    full, crop = _crop(mask)
    clamped = dataclasses.replace(SETTINGS, clamp_start=True)
    (_, centred), *others = validation_windows(crop, SETTINGS)
    (level, first), *same = validation_windows(crop, clamped)
    assert level == "C1"
    np.testing.assert_array_equal(first.image, full[0:12, 12:44, 16:48])
    np.testing.assert_array_equal(centred.image[2:], first.image[:10])
    assert all(np.array_equal(one.image, other.image) for (_, one), (_, other) in zip(others, same, strict=True))


def test_a_volume_shorter_than_the_window_is_wholly_in_it():
    mask = np.zeros((7, 32, 32), np.uint8)
    mask[2:5, 10:18, 12:20] = 4
    _full, crop = _crop(mask)
    ((level, window),) = validation_windows(crop, SETTINGS)
    assert level == "C4"
    assert np.count_nonzero(window.mask.any(axis=(1, 2))) == 3
    outside = np.all(window.image == AIR_HU, axis=(1, 2))
    assert outside.tolist() == [True] * 2 + [False] * 7 + [True] * 3  # centred: slice -2 to 10


def test_voxels_are_counted_on_the_half_grid_in_window_and_box():
    mask = spine_mask()
    mask[20, 31, 31] = 3  # a voxel of C3 outside the padded box of C2
    _, crop = _crop(mask)
    window = cut_window(crop, "C2", 9, SETTINGS)  # slices 9 to 21: 1 of C1, 8 of C2, 3 of C3
    assert window.inside == {"C1": 64, "C2": 8 * 64, "C3": 3 * 64}
    assert crop.voxels["C3"] == 8 * 64 + 1


def test_the_box_limits_the_count_in_the_plane():
    mask = spine_mask(levels=("C2",))
    mask[10:18, 10:18, 26:28] = 3
    mask[10:18, 0:2, 12:20] = 4
    settings = dataclasses.replace(SETTINGS, margin=7)
    _, crop = _crop(mask, settings=settings)
    assert cut_window(crop, "C2", 9, settings).inside == {"C2": 512, "C3": 8 * 8}  # one of two columns, no row


@pytest.mark.parametrize("settings", [SETTINGS, dataclasses.replace(SETTINGS, size=47, z_fill="mean")])
def test_what_travels_is_within_half_a_hu_and_its_mask_bit_for_bit(settings):
    random = np.random.default_rng(0)
    full = random.integers(np.iinfo(np.int16).min, np.iinfo(np.int16).max, (60, 64, 64), dtype=np.int16)
    full, crop = _crop(spine_mask(), full, settings=settings)
    crop = dataclasses.replace(crop, mean=-400.3)
    window = cut_window(crop, "C1", -5, settings)
    sent = classifier_crop(whole_hu(window.image), window.mask, crop)
    assert (sent.image.dtype, sent.mask.dtype, sent.mean.dtype, sent.std.dtype) == ("int16", "uint8", "f4", "f4")
    assert sent.image.flags.c_contiguous and sent.mask.flags.c_contiguous
    assert np.abs(sent.image - window.image.astype(np.float64)).max() <= 0.5
    np.testing.assert_array_equal(sent.mask, window.mask)
    assert (sent.mean, sent.std) == (np.float32(-400.3), np.float32(500.0))


def test_a_tall_vertebra_gives_two_validation_windows_and_the_tail_is_in_the_second():
    mask = spine_mask()
    mask[:] = 0
    mask[10:30, 10:18, 12:20] = 2  # 20 slices, windows of 12
    mask[35:47, 10:18, 12:20] = 3  # as tall as the window
    full, crop = _crop(mask)
    windows = list(validation_windows(crop, SETTINGS))
    assert [level for level, _ in windows] == ["C2", "C2", "C3"]
    for (_, window), start in zip(windows, (10, 18, 35), strict=True):
        np.testing.assert_array_equal(window.image, full[start : start + 12, 12:44, 16:48])


def test_interpolated_levels_are_among_the_validation_windows():
    mask = spine_mask(levels=("C3", "C5"))
    facts = mask_facts(mask, C4="interpolated")
    facts.boxes["C4"] = (26, 34, 10, 18, 12, 20)
    crop = spine_crop(_ramp((60, 64, 64)), mask, volume_facts(), facts, SETTINGS)
    windows = dict(validation_windows(crop, SETTINGS))
    assert list(windows) == ["C3", "C4", "C5"]
    assert set(np.unique(windows["C4"].mask)) == {0, 3, 5}
