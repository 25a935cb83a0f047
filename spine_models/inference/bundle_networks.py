"""The networks of a bundle; what only reads its description, as the pages do, starts without torch."""

from __future__ import annotations

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
