"""Settings of the two trainings; the configuration's ``segmentation`` and ``classification``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spine_models.data.samples.augmentation import ClassificationAugmentation, SegmentationAugmentation
from spine_models.models.losses import LossSettings
from spine_models.models.unet import UNetSettings
from spine_models.provenance.settings import settings_from


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What both trainings have in common.

    Attributes:
        global_batch: samples of an optimizer step.
        micro_batch: samples at once in one process.
        epochs: of the whole training; the cosine schedule ends with the last.
        learning_rate: of the first step.
        final_learning_rate: of the last step.
        weight_decay: of AdamW.
        gradient_clip: largest norm of the gradient.
        precision: "auto", "fp32", "bf16" or "fp16".
        activation_checkpointing: recompute activations in the backward pass.
        freeze_bn: keep statistics and affine parameters of batch norm.
        max_skipped_steps: steps with a non-finite loss or gradient that are skipped before the training stops.
        workers: processes that load samples, for each process that trains.
        draws_per_study: samples that an epoch draws for each study.
    """

    global_batch: int
    micro_batch: int
    epochs: int
    learning_rate: float
    final_learning_rate: float
    weight_decay: float
    gradient_clip: float
    precision: str
    activation_checkpointing: bool
    freeze_bn: bool
    max_skipped_steps: int
    workers: int
    draws_per_study: int


@dataclass(frozen=True)
class WindowSettings:
    """Sliding window along z of the validation, in slices of the subsampled volume."""

    window: int
    overlap: int


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe(Recipe):
    """The configuration's ``segmentation``.

    Attributes:
        window: slices of a training window.
        network: architecture.
        loss: weights of the loss.
        augmentation: see ``data.augmentation``.
        validation: sliding window of the validation.
    """

    window: int
    network: UNetSettings
    loss: LossSettings
    augmentation: SegmentationAugmentation
    validation: WindowSettings


@dataclass(frozen=True)
class NetworkSettings:
    """The configuration's ``classification.network``: a ``ClassifierSettings`` without its variant."""

    depth: int
    base_channels: int
    dropout: float


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """The configuration's ``classification`` with one of its ``variants`` merged into it.

    Attributes:
        fractured_probability: of drawing a fractured vertebra in a study that has one.
        network: architecture.
        augmentation: see ``data.augmentation``.
    """

    fractured_probability: float
    network: NetworkSettings
    augmentation: ClassificationAugmentation


def segmentation_recipe(section: Mapping[str, Any]) -> SegmentationRecipe:
    """Build the recipe from the configuration's ``segmentation``; keys of other rules are left out.

    Raises:
        TypeError: if another key is missing or unknown.
    """
    return settings_from(SegmentationRecipe, _without(section, "gpus", "folds", "inference"))


def classification_recipe(section: Mapping[str, Any], variant: str) -> ClassificationRecipe:
    """Build the recipe of one variant from the configuration's ``classification``; keys of other rules are left out.

    The variant's own keys lie under ``variants`` or are merged already.

    Raises:
        TypeError: if another key is missing or unknown.
    """
    merged = {**section, **section.get("variants", {}).get(variant, {})}
    others = ("gpus", "folds", "fold_parts", "greedy_averaging", "average", "variants", "variant")
    return settings_from(ClassificationRecipe, _without(merged, *others))


def _without(section: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in names}
