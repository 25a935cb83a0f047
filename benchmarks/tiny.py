"""The tiny configuration, ``tiny.yaml``, and what differs from it where vertebrae are as plain as slabs."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from spine_models.configuration.checked import checked
from spine_models.configuration.overlays import merge, read_overlay

TINY = Path(__file__).with_name("tiny.yaml")
_ROOT = TINY.parents[1]

PLAIN: dict[str, Any] = {
    "dataset_dir": "data",
    "phantom": {"enabled": False},
    "segmentation": {
        # Nothing has to be learnt, so that the narrowest network and the recipe's own augmentation do.
        "network": {"base_channels": 4, "decoder_channels": [8, 8, 8, 8, 8]},
        "training": {
            "window": 16,
            "loss": {"jaccard_weight": 0.1},
            "augmentation": {"affine_probability": 0.5, "flip_probability": 0.5, "distortion_probability": 0.2},
            "validation": {"window": 16, "overlap": 8},
        },
        "inference": {"window": 32, "overlap": 8},
    },
}
"""Changes for a data set in the folder ``data`` that is written for the run."""


def tiny(*changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tiny configuration with changes, as an overlay on ``config.yaml``."""
    overlay = read_overlay(TINY)
    for change in changes:
        merge(overlay, deepcopy(dict(change)))
    return overlay


def whole(overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config.yaml`` with an overlay, checked as the workflow does."""
    config = read_overlay(_ROOT / "config.yaml")
    merge(config, overlay)
    return checked(config, _ROOT / "rules" / "config.schema.yaml")
