"""The channel-separated residual networks (CSN) of mmaction2, reached through this one adapter module.

The released mmaction2 package cannot be imported as a whole (a subpackage is missing from its wheel), and only two
of its modules are needed. They are imported under bare stand-ins for their parent packages, after which
``sys.modules`` and mmaction2's registry are as they were before.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spine_models.models.batch_norm import batch_norms, freeze
from spine_models.models.convolutions import use_pointwise
from spine_models.models.depthwise import use_depthwise
from spine_models.models.fused import FusedBlock, FusedStem, Same
from spine_models.models.recompute import run_checkpointed

M = TypeVar("M", bound=nn.Module)
STRIDES = (8, 32)
"""How much smaller the deepest feature map is, along z and in the plane."""
MODES = ("ir", "ip")
"""Interaction-reduced (only depthwise 3x3x3) and interaction-preserving (a 1x1x1 before it); Tran et al. 2019."""
DEPTHS = (50, 101, 152)
BATCH_NORM_EPS = 1e-3
"""What the published weights were trained with (method, segmentation and mmaction2's own default)."""
_EXPANSION = 4


@dataclass(frozen=True)
class CsnSettings:
    """Which network.

    Attributes:
        mode: "ir" or "ip".
        depth: 50, 101 or 152.
        base_channels: channels of the stem; everything else scales with it (64 in the published networks).
        batch_norm_eps: added to the variance in every batch norm.
    """

    mode: str = "ir"
    depth: int = 50
    base_channels: int = 64
    batch_norm_eps: float = BATCH_NORM_EPS

    def __post_init__(self) -> None:
        """Refuse what mmaction2 would refuse with a trace of its own."""
        if self.mode not in MODES or self.depth not in DEPTHS:
            raise ValueError(f"a CSN is of mode {MODES} and depth {DEPTHS}, not {self.mode!r}, {self.depth}")


class CsnBackbone(nn.Module):
    """``ResNet3dCSN`` that returns the stem's output and those of its four layers.

    The names of its parameters are mmaction2's own (``conv1.conv.weight``, ``layer1.0.conv2.0.bn.bias`` ...), as
    in the published checkpoints behind the prefix ``backbone.``.

    Attributes:
        channels: channels of the five feature maps.
    """

    def __init__(
        self, settings: CsnSettings, *, freeze_bn: bool = False, activation_checkpointing: bool = False
    ) -> None:
        """Build the network with random weights (Kaiming's for convolutions, as mmaction2 does).

        Args:
            settings: which network.
            freeze_bn: keep statistics and affine parameters of every batch norm as they are, in training too.
            activation_checkpointing: recompute the activations of each block in the backward pass.
        """
        super().__init__()
        network = _build(settings)
        self.conv1: nn.Module = network.conv1
        self.maxpool: nn.Module = network.maxpool
        self.layer1: nn.Sequential = network.layer1
        self.layer2: nn.Sequential = network.layer2
        self.layer3: nn.Sequential = network.layer3
        self.layer4: nn.Sequential = network.layer4
        base = settings.base_channels
        self.channels = (base, *(base * _EXPANSION * 2**layer for layer in range(4)))
        self.activation_checkpointing = activation_checkpointing
        if freeze_bn:
            freeze(self)
        self.train()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the five feature maps of ``image``.

        Args:
            image: (N, 3, Z, Y, X).

        Returns:
            The stem (in-plane 1/2, z 1) and the layers 1 to 4 (in-plane 1/4, 1/8, 1/16, 1/32; z 1, 1/2, 1/4, 1/8),
            each (N, ``channels[i]``, z, y, x); sizes that do not divide are rounded up.
        """
        features = [self._run(self.conv1, image)]
        value: torch.Tensor = self.maxpool(features[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in layer:
                value = self._run(block, value)
            features.append(value)
        return tuple(features)

    def units(self) -> list[nn.Module]:
        """Return the parts that activation checkpointing runs again, in the order of the forward pass."""
        layers = (self.layer1, self.layer2, self.layer3, self.layer4)
        return [self.conv1, *(block for layer in layers for block in layer)]

    def _run(self, block: nn.Module, value: torch.Tensor) -> torch.Tensor:
        if self.activation_checkpointing and self.training:
            return run_checkpointed(block, value)
        result: torch.Tensor = block(value)
        return result


def fold(network: M, same: Same = ((0,), (1,), (2,))) -> M:
    """Return a copy of ``network``, a CSN or what holds one, with each batch norm as part of the convolution before it.

    Without gradients on the CPU its CSN computes as ``models.fused`` says.

    Args:
        network: in evaluation.
        same: groups of the CSN's input channels that are expected to hold the same image.

    Raises:
        ValueError: if ``network`` is in training, or has a batch norm that follows no convolution of a CSN.
    """
    if network.training:
        raise ValueError("fold batch norm into a network in evaluation: call eval() before")
    folded = copy.deepcopy(network)
    for part in folded.modules():
        convolution, norm = getattr(part, "conv", None), getattr(part, "bn", None)
        if isinstance(convolution, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
            part.conv = fuse_conv_bn_eval(convolution, norm)
            part.bn = nn.Identity()
    if any(batch_norms(folded)):
        raise ValueError("a batch norm of this network does not follow a convolution")
    for part in list(folded.modules()):
        if isinstance(part, CsnBackbone):
            part.conv1 = FusedStem(part.conv1, same)
            for layer in (part.layer1, part.layer2, part.layer3, part.layer4):
                for number, block in enumerate(layer):
                    layer[number] = FusedBlock(block)
    return folded.requires_grad_(False)


def _build(settings: CsnSettings) -> Any:
    network = csn_class()(
        depth=settings.depth,
        pretrained=None,
        base_channels=settings.base_channels,
        bottleneck_mode=settings.mode,
        norm_cfg={"type": "BN3d", "requires_grad": True, "eps": settings.batch_norm_eps},
        zero_init_residual=False,
    )
    network.init_weights()
    use_pointwise(network)
    use_depthwise(network)
    return network


@cache
def csn_class() -> Any:
    """Return mmaction2's ``ResNet3dCSN``, imported without the rest of ``mmaction.models``."""
    with _bare_packages("mmaction.models", "mmaction.models.backbones"):
        return importlib.import_module("mmaction.models.backbones.resnet3d_csn").ResNet3dCSN


@contextmanager
def _bare_packages(*names: str) -> Iterator[None]:
    """Let submodules of ``names`` be imported without the code of the packages themselves, then forget them."""
    registry = importlib.import_module("mmaction.registry").MODELS.module_dict
    known_modules = {name: module for name, module in sys.modules.items() if name.startswith(names)}
    known_registry = dict(registry)
    _forget(names)
    root = importlib.util.find_spec("mmaction")
    assert root is not None and root.submodule_search_locations is not None
    for name in names:
        package = types.ModuleType(name)
        package.__path__ = [str(Path(root.submodule_search_locations[0], *name.split(".")[1:]))]
        sys.modules[name] = package
    try:
        yield
    finally:
        _forget(names)
        sys.modules.update(known_modules)
        registry.clear()
        registry.update(known_registry)


def _forget(names: tuple[str, ...]) -> None:
    for name in [name for name in sys.modules if name.startswith(names)]:
        del sys.modules[name]
