"""Crops in, probabilities out: the one way for validation, averaging, held-out and new studies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spine_models.compute.inference_network import InferenceNetwork, require_finite
from spine_models.evaluation.aggregate import study_probabilities
from spine_models.evaluation.competition import Floats
from spine_models.levels import TARGETS

CROPS_AT_ONCE = 4
"""Crops that a classifier gets at once: always the same, so that a study's figures depend on nothing else."""

Crop = NDArray[np.float32] | torch.Tensor


class CropPredictor:
    """One classifier for the crops of many studies."""

    def __init__(self, network: InferenceNetwork, batch: int = CROPS_AT_ONCE) -> None:
        """Take the classifier; ``batch`` is how many crops it gets at once."""
        self._network, self._batch = network, batch

    def study(self, crops: Iterable[Crop]) -> Floats | None:
        """Return the probabilities of a study, (8,): the maximum over its crops, clipped; None without a crop.

        Args:
            crops: see ``probabilities``.

        Raises:
            NonFiniteOutputError: if the output for a crop is not finite.
        """
        probabilities = self.probabilities(crops)
        return study_probabilities(list(probabilities)) if len(probabilities) else None

    def probabilities(self, crops: Iterable[Crop]) -> Floats:
        """Return the probabilities of the eight targets for each crop.

        Args:
            crops: each (3, depth, size, size) as ``data.crops.crop.classifier_input`` makes it; drawn batch by batch,
                so that an iterator need not hold all of them.

        Returns:
            (N, 8) in the order of ``levels.TARGETS``; N may be 0.

        Raises:
            NonFiniteOutputError: if the output for a crop is not finite.
        """
        parts = [self._forward(batch) for batch in _batches(crops, self._batch)]
        return np.concatenate(parts) if parts else np.zeros((0, len(TARGETS)))

    def _forward(self, crops: list[Crop]) -> Floats:
        logits = self._network.logits(torch.stack([torch.as_tensor(crop) for crop in crops])).double()
        require_finite(torch.isfinite(logits).all(), [self._network])
        return np.asarray(torch.sigmoid(logits).cpu().numpy())


def _batches(crops: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(crops)
    while batch := list(islice(rest, size)):
        yield batch
