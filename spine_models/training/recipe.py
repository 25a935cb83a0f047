"""What the recipes of both trainings have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings that weights follow from, as ``configuration.trainings`` puts them together.

    Attributes:
        network: kind and settings of the network (``models.networks``).
        global_batch: samples of an optimizer step.
        micro_batch: samples at once in one process.
        epochs: of the whole training; the cosine schedule ends with the last.
        learning_rate: of the first step.
        final_learning_rate: of the last step.
        weight_decay: of AdamW.
        gradient_clip: largest norm of the gradient.
        precision: "auto", "fp32", "tf32", "bf16" or "fp16".
        activation_checkpointing: recompute activations in the backward pass.
        freeze_bn: keep statistics and affine parameters of batch norm.
        max_skipped_steps: steps with a non-finite loss or gradient that are skipped before the training stops.
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
    draws_per_study: int
