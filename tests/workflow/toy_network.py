"""A classifier of an architecture of its own, which a test adds to a copy of the checkout as ``models/toy.py``."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spine_models.errors import UserError
from spine_models.levels import TARGETS
from spine_models.models.network import Network
from spine_models.models.pretrained import PretrainedReport


@dataclass(frozen=True)
class ToySettings:
    """Architecture of the toy.

    Attributes:
        width: filters of its only convolution.
    """

    width: int


class Toy(Network):
    """One strided convolution, batch norm, global mean, one linear layer."""

    kind: ClassVar[str] = "toy"
    settings_type: ClassVar[type[ToySettings]] = ToySettings
    strides: ClassVar[tuple[int, int]] = (2, 4)

    def __init__(
        self, settings: ToySettings, *, freeze_bn: bool = False, activation_checkpointing: bool = False
    ) -> None:
        """Build it with PyTorch's initial weights; it is too small for either option to matter."""
        super().__init__()
        self.settings = settings
        self.look = nn.Conv3d(3, settings.width, 3, stride=(2, 4, 4), padding=1)
        self.even_out = nn.BatchNorm3d(settings.width)
        self.decide = nn.Linear(settings.width, len(TARGETS))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map (N, 3, D, S, S) to the logits (N, 8)."""
        features = torch.relu(self.even_out(self.look(crops))).mean((2, 3, 4))
        logits: torch.Tensor = self.decide(features.float())
        return logits

    def units(self) -> list[nn.Module]:
        """See ``Network``."""
        return [self.look]

    def folded(self) -> Toy:
        """See ``Network``."""
        folded = copy.deepcopy(self)
        folded.look = fuse_conv_bn_eval(self.look, self.even_out)
        folded.even_out = nn.Identity()
        return folded.requires_grad_(False)

    def load_published(self, path: Path) -> PretrainedReport:
        """Refuse: nobody published any.

        Raises:
            UserError: always.
        """
        raise UserError(f"{path} holds no weights of a toy: set its weights to none")
