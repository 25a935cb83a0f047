"""Augmentation in the plane: one draw of parameters, by Albumentations, for all slices of a sample and for its mask."""

from __future__ import annotations

import importlib
import math
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from spine_models.data.samples.plane_map import PlaneMap, plane_map

_ELASTIC_SIGMA = 12.0 / 256.0
"""Smoothness of the elastic field as a part of the image's side (own choice; the method gives no number)."""


@dataclass(frozen=True)
class SegmentationAugmentation:
    """Section ``segmentation.training.augmentation`` of the configuration.

    Attributes:
        shift: largest shift along y and x, as a part of the side.
        scale: largest change of size, as a part.
        rotate: largest rotation in degrees.
        affine_probability: of the three above together.
        flip_probability: of the left-right flip.
        distortion: largest stretch of a cell of the grid distortion, as a part; also the root mean square of the
            elastic distortion's local stretch.
        distortion_probability: of either the grid distortion or an elastic one.
    """

    shift: float
    scale: float
    rotate: float
    affine_probability: float
    flip_probability: float
    distortion: float
    distortion_probability: float


@dataclass(frozen=True)
class ClassificationAugmentation:
    """Section ``classification.training.augmentation`` of the configuration.

    Attributes:
        shift: largest shift along y and x, as a part of the side.
        scale: largest change of size, as a part.
        rotate: largest rotation in degrees.
        affine_probability: of the three above together.
        flip_probability: of the left-right flip and, apart from it, of the front-back flip.
        rotate90_probability: of a rotation by 0, 90, 180 or 270 degrees.
    """

    shift: float
    scale: float
    rotate: float
    affine_probability: float
    flip_probability: float
    rotate90_probability: float


class Augmentation:
    """Draws by Albumentations; what it draws is applied by ``resampling``, to all slices of a sample at once."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        """Compose ``transforms``, each one that ``plane_map`` knows."""
        self._compose = _albumentations().ReplayCompose(list(transforms))

    def draw(self, side: tuple[int, int], generator: np.random.Generator) -> PlaneMap:
        """Draw what happens to the slices of one sample and its mask.

        Args:
            side: rows and columns of the slices.
            generator: the sample's own random numbers.
        """
        return plane_map(self.replay(side, generator))

    def replay(self, side: tuple[int, int], generator: np.random.Generator) -> dict[str, Any]:
        """Draw by applying the transforms to an empty slice; return what ``ReplayCompose.replay`` takes."""
        # set_random_seed would give every transform a generator of its own with the same seed, so that the flip
        # would come exactly when the rotation does; a shared generator keeps the transforms independent.
        self._compose.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        replay: dict[str, Any] = self._compose(image=np.zeros(side, np.uint8))["replay"]
        return replay


def segmentation_augmentation(settings: SegmentationAugmentation, side: int) -> Augmentation:
    """Build the augmentation of the segmentation's windows.

    Args:
        settings: the configuration.
        side: of the slices in pixels; it scales the elastic distortion.
    """
    library = _albumentations()
    sigma = max(1.0, _ELASTIC_SIGMA * side)  # Albumentations takes no less
    # White noise of variance 1/3 (uniform on [-1, 1]), smoothed by a Gaussian in the plane, has a slope of root mean
    # square 1 / sqrt(24 pi) / sigma^2 along an axis.
    alpha = settings.distortion * math.sqrt(24.0 * math.pi) * sigma**2
    distortions = [
        library.GridDistortion(distort_limit=settings.distortion, p=1.0),
        library.ElasticTransform(alpha=alpha, sigma=sigma, noise_distribution="uniform", p=1.0),
    ]
    return Augmentation(
        [
            _affine(settings),
            library.HorizontalFlip(p=settings.flip_probability),
            library.OneOf(distortions, p=settings.distortion_probability),
        ]
    )


def classification_augmentation(settings: ClassificationAugmentation) -> Augmentation:
    """Build the augmentation of the classifier's crops, which have to be square."""
    library = _albumentations()
    return Augmentation(
        [
            _affine(settings),
            library.HorizontalFlip(p=settings.flip_probability),
            library.VerticalFlip(p=settings.flip_probability),
            library.RandomRotate90(p=settings.rotate90_probability),
        ]
    )


def _affine(settings: SegmentationAugmentation | ClassificationAugmentation) -> Any:
    return _albumentations().Affine(
        translate_percent=(-settings.shift, settings.shift),
        scale=(1.0 - settings.scale, 1.0 + settings.scale),
        keep_ratio=True,
        rotate=(-settings.rotate, settings.rotate),
        p=settings.affine_probability,
    )


def one_thread() -> None:
    """Let OpenCV, which does the work of the transforms, compute on one thread in this process."""
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)


def _albumentations() -> ModuleType:
    """Import Albumentations late (it takes a second) and without its question to the network for a newer version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    return importlib.import_module("albumentations")
