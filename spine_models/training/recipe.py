"""Settings of the two trainings, as ``configuration.trainings`` puts them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spine_models.data.samples.augmentation import ClassificationAugmentation, SegmentationAugmentation
from spine_models.models.losses import LossSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What both trainings have in common.

    Attributes:
        network: kind and settings of the network (``models.networks``).
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

    network: Mapping[str, Any]
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
    """The configuration's ``segmentation.training`` and ``segmentation.network``.

    Attributes:
        window: slices of a training window.
        loss: weights of the loss.
        augmentation: see ``data.augmentation``.
        validation: sliding window of the validation.
    """

    window: int
    loss: LossSettings
    augmentation: SegmentationAugmentation
    validation: WindowSettings


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """The configuration's ``classification.training`` and what one of its variants says of its own training.

    Attributes:
        fractured_probability: of drawing a fractured vertebra in a study that has one.
        augmentation: see ``data.augmentation``.
    """

    fractured_probability: float
    augmentation: ClassificationAugmentation
