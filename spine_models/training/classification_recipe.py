"""Settings of a classifier's training."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.data.samples.augmentation import ClassificationAugmentation
from spine_models.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """The configuration's ``classification.training`` and what one of its variants says of its own training.

    Attributes:
        fractured_probability: of drawing a fractured vertebra in a study that has one.
        augmentation: see ``data.samples.augmentation``.
    """

    fractured_probability: float
    augmentation: ClassificationAugmentation
