"""The segmentation network: a UNet on a channel-separated residual encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from spine_models.levels import LEVELS
from spine_models.models.convolutions import AxialConv3d, PlaneConv3d, PointwiseConv3d
from spine_models.models.csn import BATCH_NORM_EPS, STRIDES, CsnBackbone, CsnSettings, fold
from spine_models.models.network import Network
from spine_models.models.precision import single_precision
from spine_models.models.pretrained import PretrainedReport, load_pretrained
from spine_models.models.recompute import run_checkpointed

CLASSES = len(LEVELS) + 1
"""Background and C1 to C7."""
BACKGROUND_PRIOR = 0.95
"""Probability of background with which an untrained network starts."""
LastBlock = Literal["factorised", "full"]
_UPSAMPLING = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))


@dataclass(frozen=True)
class UNetSettings:
    """Architecture of the segmentation network; the configuration's ``segmentation.network``.

    Attributes:
        depth: of the encoder, 50, 101 or 152.
        base_channels: channels of the encoder's stem.
        decoder_channels: filters of the four stages with a skip, from deep to shallow, and of the last block.
        batch_norm_eps: of the encoder's batch norm; the decoder has none.
        last_block: "factorised" is a (2+1)D block like the others; "full" is the published network's 3x3x3 convolution.
    """

    depth: int = 50
    base_channels: int = 64
    decoder_channels: tuple[int, ...] = (256, 128, 64, 40, 32)
    batch_norm_eps: float = BATCH_NORM_EPS
    last_block: LastBlock = "factorised"

    def __post_init__(self) -> None:
        """Refuse a decoder that does not fit the encoder, and an unknown last block."""
        if self.last_block not in _LAST_BLOCKS:
            raise ValueError(f"last_block is one of {', '.join(_LAST_BLOCKS)}, not {self.last_block!r}")
        if len(self.decoder_channels) != len(_UPSAMPLING) + 1:
            raise ValueError(f"decoder_channels needs {len(_UPSAMPLING) + 1} numbers, not {self.decoder_channels}")


class CsnUNet(Network):
    """UNet with an ir-CSN encoder and a (2+1)D decoder without normalisation (method, segmentation).

    Attributes:
        settings: the architecture.
    """

    kind: ClassVar[str] = "csn_unet"
    settings_type: ClassVar[type[UNetSettings]] = UNetSettings
    strides: ClassVar[tuple[int, int]] = STRIDES
    bf16_weights: ClassVar[bool] = True
    settings: UNetSettings

    def __init__(
        self, settings: UNetSettings, *, freeze_bn: bool = False, activation_checkpointing: bool = False
    ) -> None:
        """Build the network with random weights; for the options see ``CsnBackbone``."""
        super().__init__()
        self.settings = settings
        self.activation_checkpointing = activation_checkpointing
        encoder = CsnSettings("ir", settings.depth, settings.base_channels, settings.batch_norm_eps)
        self.backbone = CsnBackbone(encoder, freeze_bn=freeze_bn, activation_checkpointing=activation_checkpointing)
        stem, *inner, bottom = self.backbone.channels
        *filters, last = settings.decoder_channels
        widths = [bottom, *filters]
        skips = [*reversed(inner), stem]
        self.decoder = nn.ModuleList(
            DecoderStage(width, skip, out, scale)
            for width, skip, out, scale in zip(widths, skips, filters, _UPSAMPLING, strict=False)
        )
        self.last = LastStage(filters[-1], last, settings.last_block)
        self.head = _rare_vertebrae_head(last)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits of background and C1 to C7.

        Args:
            image: (N, 1, Z, Y, X), standardised; Z a multiple of 8, Y and X of 32.

        Returns:
            (N, 8, Z, Y, X), float32 where the network computes in half precision.

        Raises:
            ValueError: if the image has another shape.
        """
        _check_shape(image)
        features = list(self.backbone(image.expand(-1, 3, -1, -1, -1)))
        value = features.pop()
        for stage in self.decoder:
            # Taken out, so that a prediction holds no skip longer than the stage that uses it.
            value = self._run(stage, value, features.pop())
        value = self._run(self.last, value)
        return single_precision(self.head(value))

    def units(self) -> list[nn.Module]:
        """See ``Network``."""
        return [*self.backbone.units(), *self.watched()]

    def folded(self) -> CsnUNet:
        """See ``Network``."""
        return fold(self, same=((0, 1, 2),))

    def load_published(self, path: Path) -> PretrainedReport:
        """Copy the encoder out of a checkpoint of mmaction2 (see ``load_pretrained``)."""
        return load_pretrained(self.backbone, path)

    def watched(self) -> list[nn.Module]:
        """Return the stages of the decoder, which has no norm layers."""
        return [*self.decoder, self.last]

    def _run(self, stage: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        if self.activation_checkpointing and self.training:
            return run_checkpointed(stage, *inputs)
        result: torch.Tensor = stage(*inputs)
        return result


class FactorisedBlock(nn.Module):
    """A (2+1)D block: 1x3x3, ReLU, 3x1x1, ReLU; sizes stay, no normalisation."""

    def __init__(self, channels: int, filters: int) -> None:
        """Build a block from ``channels`` to ``filters`` channels with Kaiming's weights and no bias at first."""
        super().__init__()
        self.plane = PlaneConv3d(channels, filters)
        self.axial = AxialConv3d(filters, filters)
        for convolution in (self.plane, self.axial):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, Z, Y, X) to (N, filters, Z, Y, X)."""
        value = functional.relu(self.plane(value), inplace=True)
        return functional.relu(self.axial(value), inplace=True)


class FullBlock(nn.Module):
    """One 3x3x3 convolution and a SiLU; the size stays, no normalisation.

    The published network's last block (method, published checkpoints). Training it in half precision can give NaN.
    """

    def __init__(self, channels: int, filters: int) -> None:
        """Build a block from ``channels`` to ``filters`` channels with Kaiming's weights and no bias at first."""
        super().__init__()
        self.convolution = nn.Conv3d(channels, filters, 3, padding=1)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        assert self.convolution.bias is not None
        nn.init.zeros_(self.convolution.bias)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, Z, Y, X) to (N, filters, Z, Y, X)."""
        return functional.silu(self.convolution(value), inplace=True)


_LAST_BLOCKS: dict[str, type[FactorisedBlock | FullBlock]] = {"factorised": FactorisedBlock, "full": FullBlock}


class DecoderStage(nn.Module):
    """Upsampling, a block, concatenation with the skip, a second block."""

    def __init__(self, channels: int, skip_channels: int, filters: int, scale: tuple[int, int, int]) -> None:
        """Build a stage that enlarges (z, y, x) by ``scale``."""
        super().__init__()
        self.scale = scale
        self.before = FactorisedBlock(channels, filters)
        self.after = FactorisedBlock(filters + skip_channels, filters)

    def forward(self, value: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, z, y, x) and the skip (N, skip_channels, Z, Y, X) to (N, filters, Z, Y, X)."""
        value = self.before(enlarge(value, self.scale))
        result: torch.Tensor = self.after(torch.cat([value, skip], dim=1))
        return result


class LastStage(nn.Module):
    """In-plane upsampling to the image's size and one block."""

    def __init__(self, channels: int, filters: int, block: LastBlock) -> None:
        """Build the stage from ``channels`` to ``filters`` channels."""
        super().__init__()
        self.block = _LAST_BLOCKS[block](channels, filters)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, Z, Y / 2, X / 2) to (N, filters, Z, Y, X)."""
        result: torch.Tensor = self.block(enlarge(value, (1, 2, 2)))
        return result


def _rare_vertebrae_head(channels: int) -> PointwiseConv3d:
    """Return the last convolution, which at first calls every voxel background with ``BACKGROUND_PRIOR``.

    From even odds, a network without norm layers in its decoder spends hundreds of steps on unlearning the
    vertebrae altogether: they are a few voxels in a hundred. The start is that of the focal loss (Lin et al.,
    "Focal loss for dense object detection", 2017, section 3.3): small weights, and biases that are the prior.
    """
    head = PointwiseConv3d(channels, CLASSES, kernel_size=1)
    nn.init.normal_(head.weight, std=0.01)
    bias = torch.zeros(CLASSES)
    bias[0] = math.log(BACKGROUND_PRIOR * len(LEVELS) / (1.0 - BACKGROUND_PRIOR))
    with torch.no_grad():
        if head.bias is not None:
            head.bias.copy_(bias)
    return head


def enlarge(value: torch.Tensor, scale: tuple[int, int, int]) -> torch.Tensor:
    """Repeat the voxels of (N, C, z, y, x) ``scale`` times along z, y and x (nearest neighbour)."""
    return functional.interpolate(value, scale_factor=tuple(float(factor) for factor in scale), mode="nearest")


def _check_shape(image: torch.Tensor) -> None:
    along_z, in_plane = STRIDES
    fits = image.ndim == 5 and image.shape[1] == 1
    fits = fits and all(size % in_plane == 0 for size in image.shape[3:]) and image.shape[2] % along_z == 0
    if not fits or 0 in image.shape:
        raise ValueError(
            f"the segmentation network takes images (N, 1, Z, Y, X) with Z a multiple of {along_z} and Y, X "
            f"multiples of {in_plane}, not {tuple(image.shape)}: pad the image or change its window or size"
        )
