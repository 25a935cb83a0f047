import dataclasses
import os
import pickle
from itertools import combinations

import numpy as np
import pytest

from spine_models.data.samples.augmentation import (
    ClassificationAugmentation,
    SegmentationAugmentation,
    classification_augmentation,
    one_thread,
    segmentation_augmentation,
)
from spine_models.data.samples.resampling import augmented
from spine_models.hounsfield import AIR_HU

SEGMENTATION = SegmentationAugmentation(0.1, 0.1, 20, 0.5, 0.5, 0.1, 0.5)
CLASSIFICATION = ClassificationAugmentation(0.05, 0.1, 15, 0.5, 0.5, 0.5)
KINDS = {
    "segmentation": lambda: segmentation_augmentation(SEGMENTATION, 48),
    "classification": lambda: classification_augmentation(CLASSIFICATION),
}


def _generator(index):
    return np.random.default_rng([5, index])


def _sample(slices=6, side=48):
    rng = np.random.default_rng(1)
    image = rng.integers(-500, 1500, (slices, side, side)).astype(np.int16)
    return image, rng.integers(0, 8, (slices, side, side)).astype(np.uint8)


def _augmented(augment, image, mask, generator):
    return augmented(image, mask, augment.draw(image.shape[1:], generator))


def _applied(replay):
    return [transform["applied"] for transform in replay["transforms"]]


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_affine_map_is_drawn_as_often_as_the_setting_says(probability):
    for augment in (
        segmentation_augmentation(dataclasses.replace(SEGMENTATION, affine_probability=probability), 48),
        classification_augmentation(dataclasses.replace(CLASSIFICATION, affine_probability=probability)),
    ):
        for index in range(12):
            replay = augment.replay((48, 48), _generator(index))
            affine = [part for part in replay["transforms"] if part["__class_fullname__"].endswith("Affine")]
            assert [part["applied"] for part in affine] == [bool(probability)]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_slices_stay_equal_and_the_mask_follows_the_image(kind):
    augment = KINDS[kind]()
    blocks = np.kron(np.random.default_rng(0).integers(0, 8, (6, 6)), np.ones((8, 8))).astype(np.uint8)
    mask = np.repeat(blocks[None], 5, axis=0)
    for index in range(40):
        image, moved = _augmented(augment, mask * np.int16(100), mask, _generator(index))
        assert image.dtype == np.int16
        assert moved.dtype == np.uint8
        assert np.all(image == image[0])
        assert np.all(moved == moved[0])
        # Linear and nearest interpolation differ along the edges of blocks alone.
        settled = image % 100 == 0
        inside = settled & (image > AIR_HU / 2)
        assert settled.mean() > 0.4
        assert np.mean(np.round(image[inside] / 100) == moved[inside]) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_uncovered_borders_are_air_and_background_on_every_slice(kind):
    augment = KINDS[kind]()
    image = np.full((17, 48, 48), 500, np.int16)  # one slice more than twice as many as are moved together
    mask = np.full((17, 48, 48), 7, np.uint8)
    corners = 0
    for index in range(40):
        moved, moved_mask = _augmented(augment, image, mask, _generator(index))
        assert moved.min() >= AIR_HU
        assert moved.max() <= 500
        uncovered = moved[0] == AIR_HU
        corners += bool(uncovered.any())
        assert np.all(moved[:, uncovered] == AIR_HU)
        assert np.all(moved_mask[:, uncovered] == 0)
        assert np.all(moved_mask[moved == 500] == 7)
    assert corners > 10


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_come_from_the_generator_alone(kind):
    image, mask = _sample()
    one, other = KINDS[kind](), pickle.loads(pickle.dumps(KINDS[kind]()))
    for index in (3, 9, 4):
        _augmented(other, image, mask, _generator(index))
    results = [_augmented(augment, image, mask, _generator(7)) for augment in (one, other)]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert np.any(_augmented(one, image, mask, _generator(8))[0] != results[0][0])


@pytest.mark.parametrize("kind", KINDS)
def test_transforms_are_applied_independently_of_each_other(kind):
    augment = KINDS[kind]()
    applied = np.array([_applied(augment.replay((48, 48), _generator(index))) for index in range(1000)])
    bound = 5 * np.sqrt(0.25 / 1000)
    assert np.all(np.abs(applied.mean(axis=0) - 0.5) < bound)
    for i, j in combinations(range(applied.shape[1]), 2):
        assert abs(np.mean(applied[:, i] == applied[:, j]) - 0.5) < bound


@pytest.mark.parametrize(("kind", "shift", "rotate"), [("segmentation", 0.1, 20), ("classification", 0.05, 15)])
def test_affine_parameters_fill_their_ranges(kind, shift, rotate):
    augment = KINDS[kind]()
    found = []
    for index in range(600):
        replay = augment.replay((200, 200), _generator(index))
        affine = replay["transforms"][0]
        if affine["applied"]:
            assert affine["params"]["scale"]["x"] == affine["params"]["scale"]["y"]
            centre = affine["params"]["matrix"] @ [99.5, 99.5, 1]
            found.append([affine["params"]["rotate"], affine["params"]["scale"]["x"], *(centre[:2] - 99.5)])
    low, high = np.min(found, axis=0), np.max(found, axis=0)
    reach = np.array([rotate, 0.1, shift * 200, shift * 200])
    centre = np.array([0, 1, 0, 0])
    assert np.all(low >= centre - reach - 1e-6)
    assert np.all(high <= centre + reach + 1e-6)
    assert np.all(high - low > 1.7 * reach)


def test_the_elastic_distortion_stretches_as_much_as_the_setting_says():
    settings = SegmentationAugmentation(0, 0, 0, 0, 0, 0.1, 1.0)
    for side in (128, 256):
        augment = segmentation_augmentation(settings, side)
        moves = []
        for index in range(60):
            replay = augment.replay((side, side), _generator(index))
            elastic = replay["transforms"][2]["transforms"][1]
            if elastic["applied"]:
                moves.append(elastic["params"]["map_x"] - np.arange(side))
        assert 15 < len(moves) < 45
        # Away from the borders, where OpenCV's reflection makes the field flat.
        inside = (slice(None), slice(side // 4, -side // 4), slice(side // 4, -side // 4))
        moved, stretch = (
            np.sqrt(np.mean(np.square(part[inside]))) for part in (np.array(moves), np.diff(moves, axis=-1))
        )
        assert stretch == pytest.approx(0.1, rel=0.15)
        # Noise behind a Gaussian of width s moves sqrt(2) s times as far as it stretches.
        assert moved / stretch / np.sqrt(2) == pytest.approx(12 * side / 256, rel=0.15)


FLIPS = {
    "segmentation": (lambda: segmentation_augmentation(SegmentationAugmentation(0, 0, 0, 0, 1, 0, 0), 48), (-1,)),
    "classification": (lambda: classification_augmentation(ClassificationAugmentation(0, 0, 0, 0, 1, 0)), (-2, -1)),
}


@pytest.mark.parametrize("kind", FLIPS)
def test_the_segmentation_is_flipped_left_to_right_and_the_classifier_front_to_back_too(kind):
    build, axes = FLIPS[kind]
    image, mask = _sample()
    moved, moved_mask = _augmented(build(), image, mask, _generator(0))
    np.testing.assert_array_equal(moved, np.flip(image, axes))
    np.testing.assert_array_equal(moved_mask, np.flip(mask, axes))


def test_quarter_turns_are_all_drawn_and_nothing_else_moves():
    augment = classification_augmentation(ClassificationAugmentation(0, 0, 0, 0, 0, 1))
    image, mask = _sample(1)
    turns = [[int(np.array_equal(_augmented(augment, image, mask, _generator(index))[1], np.rot90(mask, turn, (1, 2))))
              for turn in range(4)] for index in range(100)]  # fmt: skip
    assert np.sum(turns, axis=1).tolist() == [1] * 100
    assert np.sum(turns, axis=0).min() > 10


def test_a_grid_distortion_stretches_cells_up_to_the_setting():
    augment = segmentation_augmentation(SegmentationAugmentation(0, 0, 0, 0, 0, 0.1, 1.0), 100)
    steps = []
    for index in range(60):
        replay = augment.replay((100, 100), _generator(index))
        grid, elastic = replay["transforms"][2]["transforms"]
        assert grid["applied"] != elastic["applied"]
        if grid["applied"]:
            cells = np.diff(grid["params"]["map_x"][:, 10::20], axis=1)
            steps.append(np.abs(cells / 20 - 1.0).max())
    assert 15 < len(steps) < 45
    # Cells are brought back to the size of the image, which can add to their stretch.
    assert 0.08 < max(steps) < 0.2


def test_the_elastic_distortion_of_a_small_image_is_as_smooth_as_the_library_allows():
    augment = segmentation_augmentation(SEGMENTATION, 16)
    elastic = augment._compose.transforms[2].transforms[1]
    assert elastic.sigma == 1.0
    assert elastic.alpha == pytest.approx(0.1 * np.sqrt(24 * np.pi))


def test_opencv_computes_on_one_thread_when_told():
    import cv2

    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        one_thread()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_albumentations_is_kept_from_asking_the_network(monkeypatch):
    monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)
    classification_augmentation(CLASSIFICATION)
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
