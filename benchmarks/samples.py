"""Training samples of full size beside the plain way: a memory map, and Albumentations slice by slice.

    python -m benchmarks samples

A segmentation sample is 64 slices of 256 x 256 with their mask, a classification sample 40 slices of 256 x 256 with the
30 % rule; probabilities of the augmentation are those of the configuration's defaults. Both ways make the same draws
(the same study, place and parameters), and a row says by how much their images differ. One thread.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.alternating import alternating, opencv_on_one_thread
from benchmarks.row import Row, at_most
from benchmarks.tiny_data import volume_facts
from spine_models.commands.training_needs import read_configuration
from spine_models.data.crops.boxes import level_boxes, level_voxels
from spine_models.data.crops.crop import CropSettings
from spine_models.data.crops.crop_facts import CropFacts
from spine_models.data.samples.augmentation import (
    Augmentation,
    ClassificationAugmentation,
    SegmentationAugmentation,
    classification_augmentation,
    segmentation_augmentation,
)
from spine_models.data.samples.classification import ClassificationSamples
from spine_models.data.samples.sampling import draw_generator
from spine_models.data.samples.segmentation import SegmentationSamples
from spine_models.levels import LEVELS
from spine_models.provenance.facts import Facts
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import write_array, write_record
from spine_models.provenance.shelf import Shelf

_STUDY = "1.2.826.0.1.3680043.1"
_DRAWS = 24
_AIR = -1000
_SEED = 0
_LABELS = [1, 0, 0, 1, 0, 0, 0, 0]


def measure() -> list[Row]:
    """Write a study's arrays and draw samples from them both ways."""
    config = read_configuration([])
    with tempfile.TemporaryDirectory() as name, opencv_on_one_thread():
        arrays = _Arrays(Path(name))
        return [*_segmentation(arrays, config), *_classification(arrays, config)]


class _Arrays:
    """A neck of blocks: soft tissue with noise as a scanner's, and seven levels."""

    def __init__(self, root: Path) -> None:
        draw = np.random.default_rng(0)
        noise = draw.normal(0, 300, (220, 256, 256)).astype(np.float32)
        half = np.stack([cv2.GaussianBlur(plane, (0, 0), 2) for plane in noise])
        mask = np.zeros(half.shape, np.uint8)
        for value in range(1, 8):
            mask[25 * value : 25 * value + 22, 110:160, 85 + 3 * value : 145 + 3 * value] = value
        half[mask > 0] += 300
        self.half = _stage(root, "volumes_half", {"": half.astype(np.int16)}, volume_facts())
        self.labels = _stage(root, "labels_half", {"": mask}, volume_facts())
        boxes = level_boxes(mask)
        region = (slice(0, 220), slice(90, 180), slice(70, 190))
        image = np.stack([cv2.resize(plane, (240, 180)) for plane in half[region]]).astype(np.int16)
        self.facts = CropFacts(
            origin=(0, 180, 140),
            mask_origin=(0, 90, 70),
            half_factor=0.5,
            mean=-400.0,
            std=500.0,
            raw_zero_hu=-1024.0,
            boxes=boxes,
            voxels=level_voxels(mask),
            levels=dict.fromkeys(LEVELS, "visible"),
            spacing_mm=(1.0, 0.5, 0.5),
        )
        self.crops = _stage(root, "crops", {"": image, "_mask": np.ascontiguousarray(mask[region])}, self.facts)


def _stage(root: Path, stage: str, arrays: dict[str, NDArray[Any]], facts: Facts) -> Path:
    folder = root / stage / "0"
    names = {f"{_STUDY}{end}.npy": array for end, array in arrays.items()}
    files = {name: write_array(folder / name, array) for name, array in names.items()}
    record = write_record(folder / f"{_STUDY}.json", Key("make_crops", {}, {}, "code"), files, facts.to_json())
    write_manifest(root / stage / "0.json", {_STUDY: record.digest}, {})
    return folder


def _segmentation(arrays: _Arrays, config: dict[str, Any]) -> Iterator[Row]:
    settings = SegmentationAugmentation(**config["segmentation"]["training"]["augmentation"])
    shelves = (Shelf([folder.with_name("0.json")]) for folder in (arrays.half, arrays.labels))
    samples = SegmentationSamples(
        *shelves, [_STUDY], window=64, draws_per_study=_DRAWS, augmentation=settings, seed=_SEED
    )
    compose = _Plain(segmentation_augmentation(settings, 256))

    def plain(index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        generator = draw_generator(_SEED, 0, index)
        image = np.load(arrays.half / f"{_STUDY}.npy", mmap_mode="r")
        label = np.load(arrays.labels / f"{_STUDY}.npy", mmap_mode="r")
        start = int(generator.integers(0, len(image) - 64, endpoint=True))
        return compose(image[start : start + 64], label[start : start + 64], generator)

    def ours(index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        window, label, _ = samples.sample(0, index)
        return window.image, label

    yield from _rows("segmentation sample, 64 x 256 x 256", ours, plain, 6.0)


def _classification(arrays: _Arrays, config: dict[str, Any]) -> Iterator[Row]:
    augmentation = ClassificationAugmentation(**config["classification"]["training"]["augmentation"])
    settings = CropSettings(**config["crops"])
    samples = ClassificationSamples(
        Shelf([arrays.crops.with_name("0.json")]),
        [_STUDY],
        {_STUDY: _LABELS},
        settings=settings,
        augmentation=augmentation,
        draws_per_study=_DRAWS,
        fractured_probability=0.7,
        seed=_SEED,
    )
    compose = _Plain(classification_augmentation(augmentation))

    def plain(index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        generator = draw_generator(_SEED, 0, index)
        generator.integers(1), generator.integers(1)  # the study, of one group
        level = _drawn_level(generator)
        box = arrays.facts.boxes[level]
        first, last = sorted((box[1] - settings.depth, box[0]))
        start = int(generator.integers(first, last, endpoint=True))
        image, mask = _plain_window(arrays, level, start, settings)
        return compose(image, mask, generator)

    def ours(index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        crop, _, _ = samples.sample(0, index)
        return crop.image, crop.mask

    yield from _rows("classification sample, 40 x 256 x 256, 30 % rule", ours, plain, 4.0)


def _drawn_level(generator: np.random.Generator) -> str:
    broken = [level for level, label in zip(LEVELS, _LABELS[1:], strict=True) if label]
    healthy = [level for level in LEVELS if level not in broken]
    chosen = broken if generator.random() < 0.7 else healthy
    return chosen[int(generator.integers(len(chosen)))]


def _plain_window(
    arrays: _Arrays, level: str, start: int, settings: CropSettings
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut, resize and pad slice by slice, and count how much of each level the window shows."""
    image = np.load(arrays.crops / f"{_STUDY}.npy", mmap_mode="r")
    mask = np.load(arrays.crops / f"{_STUDY}_mask.npy", mmap_mode="r")
    _, _, y0, y1, x0, x1 = arrays.facts.boxes[level]
    rows = slice(max(0, y0 - settings.margin - 90), y1 + settings.margin - 90)
    columns = slice(max(0, x0 - settings.margin - 70), x1 + settings.margin - 70)
    low, high = max(0, start), min(len(image), start + settings.depth)
    shown = mask[low:high, rows, columns]
    counts = np.bincount(shown.ravel(), minlength=8)
    target = [
        label * int(counts[value] >= settings.visible_fraction * arrays.facts.voxels[name])
        for value, (name, label) in enumerate(zip(LEVELS, _LABELS[1:], strict=True), 1)
    ]
    assert len(target) == 7
    full = image[low:high, 2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
    size = settings.size
    height, width = (max(1, round(side * size / max(full.shape[1:]))) for side in full.shape[1:])
    top, left = (size - height) // 2, (size - width) // 2
    window = np.full((settings.depth, size, size), _AIR, np.float32)
    labels = np.zeros(window.shape, np.uint8)
    for z, (plane, mask_plane) in enumerate(zip(full, shown, strict=True), low - start):
        resized = cv2.resize(plane.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        window[z, top : top + height, left : left + width] = resized
        resized = cv2.resize(mask_plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        labels[z, top : top + height, left : left + width] = resized
    return window, labels


@dataclass(frozen=True)
class _Plain:
    """Draw with the first slice, and replay what was drawn on each of the others."""

    augmentation: Augmentation

    def __call__(
        self, image: NDArray[Any], mask: NDArray[np.uint8], generator: np.random.Generator
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        compose = self.augmentation._compose
        compose.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        first = compose(image=image[0].astype(np.float32) - _AIR, mask=mask[0])
        slices = [first]
        for plane, labels in zip(image[1:], mask[1:], strict=True):
            again = albumentations.ReplayCompose.replay
            slices.append(again(first["replay"], image=plane.astype(np.float32) - _AIR, mask=labels))
        moved = np.stack([each["image"] for each in slices]) + _AIR
        return np.rint(moved).astype(np.int16), np.stack([each["mask"] for each in slices])


Way = Callable[[int], tuple[NDArray[Any], NDArray[Any]]]


def _rows(name: str, ours: Way, plain: Way, target: float) -> Iterator[Row]:
    differences, other_labels = [], []
    for index in range(_DRAWS):
        (image, mask), (expected, expected_mask) = ours(index), plain(index)
        differences.append(np.abs(image.astype(np.int32) - expected))
        other_labels.append(np.mean(mask != expected_mask))
    times = alternating(*((lambda way=way: [way(index) for index in range(_DRAWS)]) for way in (ours, plain)))
    yield times.row(f"{name}: {_DRAWS} draws beside Albumentations slice by slice", target)
    mean, labels = float(np.mean(differences)), float(np.mean(other_labels))
    what = f"{name}: mean difference of the images, HU (other: share of labels that differ)"
    yield at_most(what, mean, labels, mean, 3.0)
