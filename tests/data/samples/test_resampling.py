"""What is composed and interpolated once, beside Albumentations' own replay of the same draw, step by step.

Flips, turns, a single distortion and a draw of nothing have equal bits. OpenCV rounds positions to 1/32 of a pixel:
where a flip comes before a distortion, ties fall the other way, and ``warpAffine`` rounds otherwise than ``remap``.
Where two steps interpolate, once is sharper than twice: equal are images without detail, and along borders the mean.
"""

import albumentations
import cv2
import numpy as np
import pytest

from spine_models.data.crops.crop import CropSettings, WindowPart, WindowPlace, fit_window
from spine_models.data.samples.augmentation import (
    ClassificationAugmentation,
    SegmentationAugmentation,
    classification_augmentation,
    segmentation_augmentation,
)
from spine_models.data.samples.plane_map import PlaneMap, plane_map
from spine_models.data.samples.resampling import _on_part, augmented, augmented_window
from spine_models.hounsfield import whole_hu

SIDE = 96
SEGMENTATION = SegmentationAugmentation(0.1, 0.1, 20, 0.5, 0.5, 0.1, 0.6)
CLASSIFICATION = ClassificationAugmentation(0.05, 0.1, 15, 0.5, 0.5, 0.5)
INTERPOLATING = {"Affine", "GridDistortion", "ElasticTransform"}
TIE_HU = 2500 / 32
"""What 1/32 of a pixel makes of the largest step of an image here, between 1500 HU and air."""


def _draws(augment, side, count):
    for index in range(count):
        replay = augment.replay((side, side), np.random.default_rng([8, index]))
        yield replay, plane_map(replay)


def _replayed(replay, image, mask):
    """Albumentations itself, slice by slice; its fill is 0, so that air has to be 0."""
    pairs = [
        albumentations.ReplayCompose.replay(replay, image=plane.astype(np.float32) + 1000, mask=labels)
        for plane, labels in zip(image, mask, strict=True)
    ]
    return np.rint(np.stack([pair["image"] for pair in pairs]) - 1000), np.stack([pair["mask"] for pair in pairs])


def _noise(slices=11, side=SIDE):
    rng = np.random.default_rng(2)
    image = rng.integers(-1000, 1500, (slices, side, side)).astype(np.int16)
    return image, rng.integers(0, 8, (slices, side, side)).astype(np.uint8)


def _waves(slices=3, side=SIDE):
    """Images whose second derivative is below 0.3 HU per square pixel, with two labels in large parts."""
    y, x = np.mgrid[:side, :side]
    image = np.stack([250 + 100 * np.sin((x + 9 * z) / 20) + 50 * np.cos(y / 20) for z in range(slices)])
    mask = np.repeat(np.where(x > y, 3, 5).astype(np.uint8)[None], slices, axis=0)
    return np.rint(image).astype(np.int16), mask


def _edges(mask):
    """Pixels beside one with another label, where two ways to round a position may differ."""
    grown = [cv2.dilate(plane, np.ones((5, 5))) != cv2.erode(plane, np.ones((5, 5)), borderValue=0) for plane in mask]
    return np.stack(grown)


@pytest.mark.parametrize("build", [lambda: segmentation_augmentation(SEGMENTATION, SIDE),
                                   lambda: classification_augmentation(CLASSIFICATION)])  # fmt: skip
def test_draws_that_interpolate_at_most_once_equal_albumentations(build):
    image, mask = _noise()
    seen = set()
    for replay, drawn in _draws(build(), SIDE, 80):
        names = {name for name, _ in drawn.steps}
        if len(names & INTERPOLATING) > 1:
            continue
        moved, labels = augmented(image, mask, drawn)
        expected, expected_labels = _replayed(replay, image, mask)
        differences = np.abs(moved - expected)
        if "Affine" in names:
            assert differences.max() < 2 * TIE_HU  # of noise whose neighbours differ by 830 HU in the mean
            assert np.mean(differences) < 1.5
            assert np.mean(labels != expected_labels) < 0.005
        elif names & INTERPOLATING and len(names) > 1:
            assert differences.max() < TIE_HU
            assert np.mean(differences > 0) < 0.001
            assert np.mean(labels != expected_labels) < 0.001
        else:
            np.testing.assert_array_equal(moved, expected)
            np.testing.assert_array_equal(labels, expected_labels)
        seen.add(frozenset(names))
    assert len(seen) >= 5


def test_two_interpolations_in_one_equal_albumentations_on_images_without_detail_and_along_borders():
    augment = segmentation_augmentation(SEGMENTATION, SIDE)
    image, mask = _waves()
    both = 0
    for replay, drawn in _draws(augment, SIDE, 120):
        if len({name for name, _ in drawn.steps} & INTERPOLATING) < 2:
            continue
        both += 1
        moved, labels = augmented(image, mask, drawn)
        expected, expected_labels = _replayed(replay, image, mask)
        differences = moved - expected
        assert np.percentile(np.abs(differences), 90) <= 2
        assert np.abs(np.mean(differences)) < 1  # the border lies where it did
        assert np.abs(differences).max() < 0.4 * (400 + 1000)  # and is not blurred a second time
        assert np.all((labels == expected_labels) | _edges(expected_labels))
    assert both > 15


def _part(image, mask, plane_fill=-1000.0, z_fill=-1000.0, size=SIDE):
    rows, columns = (round(side * size / max(image.shape[1:])) for side in image.shape[1:])
    place = WindowPlace((size - rows) // 2, (size - columns) // 2, rows, columns)
    return WindowPart(image, mask, 2, place, plane_fill, z_fill, {})


@pytest.mark.parametrize("plane", [(60, 44), (31, 70), (120, 150)])
@pytest.mark.parametrize("fills", [(-1000.0, -1000.0), (-24.0, -310.0)])
def test_a_window_that_is_resized_and_moved_at_once_equals_one_after_the_other(plane, fills):
    """On images without detail, along the borders of the image and of the window, and in slices beyond the volume."""
    y, x = np.mgrid[: plane[0], : plane[1]]
    image = np.rint(np.stack([400 + 2.0 * x - 1.0 * y + 300 * z for z in range(3)])).astype(np.int16)
    mask = np.full((3, plane[0] // 2, plane[1] // 2), 4, np.uint8)
    part = _part(image, mask, *fills)
    settings = CropSettings(margin=0, depth=7, size=SIDE, min_voxels=1, visible_fraction=0.3)
    window = fit_window(part, settings)
    moves = 0
    for replay, drawn in _draws(classification_augmentation(CLASSIFICATION), SIDE, 40):
        if drawn.exact:
            continue
        moves += 1
        moved, labels = augmented_window(part, drawn, settings.depth, SIDE)
        expected, expected_labels = _replayed(replay, whole_hu(window.image), window.mask)
        differences = np.abs(moved - expected)
        assert np.percentile(differences, 90) <= 1
        assert differences.max() <= TIE_HU
        assert np.all((labels == expected_labels) | _edges(expected_labels))
        assert np.mean(labels != expected_labels) < 0.001
    assert moves > 10


def test_positions_in_a_window_are_those_in_the_part_that_fills_its_place():
    """By hand: a part of 2 x 4 pixels fills rows 3 to 6 and columns 2 to 9; beyond, its edge goes on."""
    part, place = np.zeros((1, 2, 4), np.int16), WindowPlace(top=3, left=2, rows=4, columns=8)
    x, y = np.array([[-5.0, 2, 2.5, 5, 9, 40]]), np.array([[-5.0, 3, 3.5, 5, 6, 40]])
    at = _on_part(np.stack([x, y]), place, part)
    assert at.dtype == np.float32
    np.testing.assert_allclose(at[0], [[-0.25, -0.25, 0, 1.25, 3.25, 3.25]])
    np.testing.assert_allclose(at[1], [[-0.25, -0.25, 0, 0.75, 1.25, 1.25]])


def test_planes_need_not_be_square():
    image, mask = _noise(3)
    image, mask = np.ascontiguousarray(image[:, :60]), np.ascontiguousarray(mask[:, :60])
    maps = {
        name: grid.astype(np.float32) for name, grid in zip(("map_x", "map_y"), np.mgrid[:60, :SIDE][::-1], strict=True)
    }
    drawn = PlaneMap((("GridDistortion", maps),))
    moved, labels = augmented(image, mask, drawn)
    np.testing.assert_array_equal(moved, image)
    np.testing.assert_array_equal(labels, mask)


def test_what_a_map_uncovers_is_air_without_a_label():
    image, mask = np.full((2, 40, 40), 700, np.int16), np.full((2, 40, 40), 5, np.uint8)
    y, x = np.mgrid[:40, :40].astype(np.float32)
    moved, labels = augmented(image, mask, PlaneMap((("GridDistortion", {"map_x": x + 10, "map_y": y - 7}),)))
    assert np.all(moved[:, 8:, :29] == 700)
    assert np.all(labels[:, 8:, :29] == 5)
    assert np.all(moved[:, :, 31:] == -1000)
    assert np.all(labels[:, :6] == 0)
    assert np.all(labels[:, :, 31:] == 0)


def test_slices_moved_together_equal_slices_moved_one_by_one():
    image, mask = _noise(17)
    for _, drawn in _draws(segmentation_augmentation(SEGMENTATION, SIDE), SIDE, 20):
        moved, labels = augmented(image, mask, drawn)
        for z in range(len(image)):
            one, its_labels = augmented(image[z : z + 1], mask[z : z + 1], drawn)
            np.testing.assert_array_equal(one[0], moved[z])
            np.testing.assert_array_equal(its_labels[0], labels[z])


def test_a_distortion_that_is_not_the_last_step_is_no_map():
    maps = dict.fromkeys(("map_x", "map_y"), np.zeros((4, 4), np.float32))
    drawn = PlaneMap((("GridDistortion", maps), ("Affine", {"matrix": np.eye(3)})))
    with pytest.raises(ValueError, match="GridDistortion has to be the last"):
        drawn.positions((4, 4))


def test_a_transform_that_nobody_knows_is_no_map():
    with pytest.raises(KeyError, match="Blur"):
        PlaneMap((("Blur", {}),)).positions((4, 4))
