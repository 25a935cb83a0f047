"""Tiny networks whose predictions differ from voxel to voxel and from crop to crop."""

from __future__ import annotations

import torch
from torch import nn

from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.unet import CsnUNet, UNetSettings


def segmentation_network(seed: int = 0) -> CsnUNet:
    """Return a network in evaluation that shows levels: an untrained one calls everything background."""
    torch.manual_seed(seed)
    network = CsnUNet(UNetSettings(base_channels=8, decoder_channels=(16, 8, 8, 8, 8)))
    nn.init.zeros_(network.head.bias)
    nn.init.normal_(network.head.weight)
    return network.eval()


def classifier(variant: str, seed: int = 0) -> CsnClassifier:
    """Return a classifier in evaluation whose crops differ: an untrained head says nearly the same of each."""
    torch.manual_seed(seed)
    network = CsnClassifier(ClassifierSettings(variant, depth=50, base_channels=8))
    nn.init.normal_(network.head.weight, std=0.2)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2.0)
                module.weight.uniform_(0.5, 1.5)
    return network.eval()


class Levels(nn.Module):
    """Calls a voxel of standardised value v level round(v); remembers the smallest value that it saw."""

    def __init__(self, sharpness: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(sharpness))
        self.offset = offset
        self.smallest = 0.0
        self.eval()

    def folded(self) -> Levels:
        return self

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.smallest = min(self.smallest, float(image.min()))
        classes = torch.arange(8.0).reshape(1, 8, 1, 1, 1)
        return -self.sharpness * (image + self.offset - classes) ** 2
