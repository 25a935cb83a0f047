"""The registry of networks: what a configuration may name, and the module that builds it.

A network is imported when it is built. Until then nothing here needs torch, so that the workflow can ask, while it is
being parsed, which kinds and settings there are. No key of a result holds this module: what a network computes is
said by its own module, which the keys of its rules hold by name (``modules_of``).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from spine_models.models.network import Network

Stage = Literal["segmentation", "classification"]
KIND = "kind"
"""Key of a network's settings in the configuration that says which network it is."""


@dataclass(frozen=True)
class Kind:
    """One network that a configuration may name.

    Attributes:
        module: dotted name of the module that defines it.
        network: name of its class there, a ``models.network.Network``.
        stage: what it is for.
        strides: how much smaller its deepest feature map is, along z and in the plane.
        settings: field of the class's ``settings_type`` to its JSON schema, with a description.
    """

    module: str
    network: str
    stage: Stage
    strides: tuple[int, int]
    settings: Mapping[str, Mapping[str, Any]]


_DEPTH = {"type": "integer", "enum": [50, 101, 152]}
_WIDTH = {"type": "integer", "minimum": 4, "maximum": 1024, "multipleOf": 4}
KINDS: dict[str, Kind] = {
    "csn_unet": Kind(
        "spine_models.models.unet",
        "CsnUNet",
        stage="segmentation",
        strides=(8, 32),
        settings={
            "depth": {**_DEPTH, "description": "Of the encoder."},
            "base_channels": {**_WIDTH, "description": "Width of the encoder's stem."},
            "decoder_channels": {
                "type": "array",
                "description": "Filters of the five decoder stages.",
                "minItems": 5,
                "maxItems": 5,
                "items": {"type": "integer", "minimum": 1, "maximum": 4096},
            },
            "batch_norm_eps": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 1,
                "description": "Epsilon of the batch norm.",
            },
            "last_block": {"type": "string", "enum": ["factorised", "full"], "description": "Last of the decoder."},
        },
    ),
    "csn": Kind(
        "spine_models.models.classifier",
        "CsnClassifier",
        stage="classification",
        strides=(8, 32),
        settings={
            "mode": {"type": "string", "enum": ["ir", "ip"], "description": "Kind of channel separation."},
            "depth": {**_DEPTH, "description": "Of the network."},
            "base_channels": {**_WIDTH, "description": "Width of the stem."},
            "dropout": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "description": "Before the last layer."},
        },
    ),
}


def kinds_of(stage: Stage) -> tuple[str, ...]:
    """Return the kinds of networks that a stage may name."""
    return tuple(name for name, kind in KINDS.items() if kind.stage == stage)


def modules_of(networks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the modules that build ``networks`` (settings with their kind), each once, sorted."""
    return sorted({KINDS[settings[KIND]].module for settings in networks})


def modules_of_stages(*stages: Stage) -> list[str]:
    """Return the modules of all networks that are for one of ``stages``, each once, sorted."""
    return sorted({kind.module for kind in KINDS.values() if kind.stage in stages})


def build(settings: Mapping[str, Any], *, freeze_bn: bool = False, activation_checkpointing: bool = False) -> Network:
    """Build a network with random weights.

    Args:
        settings: its kind and the settings of that kind, as the configuration or a file of weights holds them.
        freeze_bn: keep statistics and affine parameters of every batch norm as they are, in training too.
        activation_checkpointing: recompute activations in the backward pass.

    Raises:
        ValueError: if there is no such kind, or a value does not fit it.
        TypeError: if a setting is missing or unknown.
    """
    kind = settings[KIND]
    if kind not in KINDS:
        raise ValueError(f"no such kind of network: {kind!r}")
    network: type[Network] = getattr(importlib.import_module(KINDS[kind].module), KINDS[kind].network)
    own = {name: value for name, value in settings.items() if name != KIND}
    return network.of(own, freeze_bn=freeze_bn, activation_checkpointing=activation_checkpointing)
