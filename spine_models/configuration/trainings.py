"""What the configuration says of each training, as one mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spine_models.models.published import NONE, PUBLISHED


def segmentation_recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that the weights of the segmentation follow from (``training.segmentation_recipe``)."""
    section = config["segmentation"]
    return {**section["training"], "network": section["network"]}


def classifier_recipe(config: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """Return the keys that the weights of a variant follow from (``training.classification_recipe``)."""
    section = config["classification"]
    own = {key: section["variants"][variant][key] for key in ("network", "draws_per_study", "freeze_bn")}
    return {**section["training"], **own}


def folds_of(config: Mapping[str, Any], variant: str) -> int:
    """Return how many folds of a classifier's ``variant`` are trained."""
    classification = config["classification"]
    own: int | None = classification["variants"][variant]["folds"]
    return int(classification["folds"]) if own is None else own


def published_file(config: Mapping[str, Any], weights: str) -> str | None:
    """Return the file of the published weights that a training starts from; None where it starts from anything else.

    Args:
        config: the checked configuration.
        weights: the training's short name of them, or "none".
    """
    return None if config["init_bundle"] or NONE in (config["pretrained"], weights) else PUBLISHED[weights].file
