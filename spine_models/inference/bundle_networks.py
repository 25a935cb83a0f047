"""The networks of a bundle; what only reads its description, as the pages do, starts without torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spine_models.compute.crop_predictor import CropPredictor
from spine_models.compute.flips import Flip
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.precision import classifier_precision
from spine_models.inference.bundle import Bundle
from spine_models.models.network import Network
from spine_models.models.weights import load_model


def load_segmentation(bundle: Bundle) -> list[Network]:
    """Load the segmentation networks, on the CPU and in evaluation mode.

    Raises:
        UserError: if a file does not hold such a network.
    """
    return [load_model(bundle.place.network(entry), "segmentation")[0] for entry in bundle.segmentation]


def load_classifiers(bundle: Bundle) -> list[Network]:
    """Load the classifiers, on the CPU and in evaluation mode.

    Raises:
        UserError: if a file does not hold such a network.
    """
    return [load_model(bundle.place.network(entry), "classification")[0] for entry in bundle.classification]


def load_crop_predictors(
    bundle: Bundle, device: torch.device, flips: Sequence[Flip], precision: str = "auto"
) -> dict[str, CropPredictor]:
    """Load the classifiers to predict with, by their names in the bundle.

    Args:
        bundle: checked by ``load_bundle``.
        device: where they compute.
        flips: of the crops, over which each classifier's probabilities are averaged.
        precision: see ``classifier_precision``.

    Raises:
        UserError: if a file does not hold such a network.
    """
    chosen = classifier_precision(device.type, precision)
    return {
        entry.name: CropPredictor(InferenceNetwork(network, device, chosen), flips)
        for entry, network in zip(bundle.classification, load_classifiers(bundle), strict=True)
    }
