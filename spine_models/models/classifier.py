"""The fracture classifier: a channel-separated residual network, global maximum, one linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from spine_models.levels import TARGETS
from spine_models.models.csn import STRIDES, CsnBackbone, CsnSettings, fold
from spine_models.models.network import Network
from spine_models.models.precision import single_precision
from spine_models.models.pretrained import PretrainedReport, load_pretrained

FRACTURE_PRIOR = 0.1
"""Probability of each target with which an untrained network starts."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Architecture of a classifier; the ``network`` of the configuration's ``classification.variants``.

    Attributes:
        mode: "ir" or "ip".
        depth: 50, 101 or 152.
        base_channels: channels of the stem.
        dropout: probability of dropping a feature before the linear layer.
    """

    mode: str
    depth: int = 152
    base_channels: int = 64
    dropout: float = 0.5


class CsnClassifier(Network):
    """CSN, global max pooling, dropout, linear layer to the eight targets (method, classification).

    Attributes:
        settings: the architecture.
    """

    kind: ClassVar[str] = "csn"
    settings_type: ClassVar[type[ClassifierSettings]] = ClassifierSettings
    strides: ClassVar[tuple[int, int]] = STRIDES
    bf16_weights: ClassVar[bool] = True
    settings: ClassifierSettings

    def __init__(
        self, settings: ClassifierSettings, *, freeze_bn: bool = False, activation_checkpointing: bool = False
    ) -> None:
        """Build the network with random weights; for the options see ``CsnBackbone``."""
        super().__init__()
        self.settings = settings
        self.backbone = CsnBackbone(
            CsnSettings(settings.mode, settings.depth, settings.base_channels),
            freeze_bn=freeze_bn,
            activation_checkpointing=activation_checkpointing,
        )
        # Not `amax`: it splits the gradient among equal maxima, and after a ReLU ties at zero are common.
        self.pool = nn.AdaptiveMaxPool3d(1)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(self.backbone.channels[-1], len(TARGETS))
        # The largest of many features is far from 0: with PyTorch's own weights the first steps only unlearn the head.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, math.log(FRACTURE_PRIOR / (1.0 - FRACTURE_PRIOR)))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the logits of the eight targets (``levels.TARGETS``).

        Args:
            crops: (N, 3, D, S, S): image twice, standardised, and the integer mask.

        Returns:
            (N, 8), float32 where the network computes in half precision.
        """
        features = self.pool(self.backbone(crops)[-1]).flatten(1)
        return single_precision(self.head(self.dropout(features)))

    def units(self) -> list[nn.Module]:
        """See ``Network``."""
        return self.backbone.units()

    def folded(self) -> CsnClassifier:
        """See ``Network``."""
        return fold(self, same=((0, 1), (2,)))

    def load_published(self, path: Path) -> PretrainedReport:
        """Copy the encoder out of a checkpoint of mmaction2 (see ``load_pretrained``)."""
        return load_pretrained(self.backbone, path)
