"""Settings of the segmentation's training."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.data.samples.augmentation import SegmentationAugmentation
from spine_models.models.losses import LossSettings
from spine_models.training.recipe import Recipe


@dataclass(frozen=True)
class WindowSettings:
    """Sliding window along z of the validation, in slices of the subsampled volume."""

    window: int
    overlap: int


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe(Recipe):
    """The configuration's ``segmentation.training`` and ``segmentation.network``.

    Attributes:
        window: slices of a training window.
        loss: weights of the loss.
        augmentation: see ``data.samples.augmentation``.
        validation: sliding window of the validation.
    """

    window: int
    loss: LossSettings
    augmentation: SegmentationAugmentation
    validation: WindowSettings
