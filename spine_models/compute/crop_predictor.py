"""Crops in, probabilities out: the one way for validation, averaging, held-out and new studies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch.utils.data import default_collate

from spine_models.compute.flips import NO_FLIP, Flip, mean_over_flips
from spine_models.compute.inference_network import InferenceNetwork, finite_or_again, require_finite
from spine_models.compute.network_input import classifier_input
from spine_models.compute.precision import Precision
from spine_models.data.crops.crop import ClassifierCrop
from spine_models.evaluation.aggregate import study_probabilities
from spine_models.evaluation.competition import Floats
from spine_models.levels import TARGETS

CROPS_AT_ONCE = {"cpu": 1, "cuda": 4}
"""Crops that a classifier gets at once: always the same, so that a study's figures depend on nothing else.

On the CPU the activations of several would only leave its caches.
"""


@dataclass(frozen=True)
class CropInferenceSettings:
    """How crops are predicted; ``classification.inference``.

    Attributes:
        flips: of each crop; their probabilities are averaged.
    """

    flips: tuple[Flip, ...] = NO_FLIP


class CropPredictor:
    """One classifier for the crops of many studies.

    Attributes:
        flips: of each crop.
        repeated: batches so far that half precision overflowed in, so that they were computed again in float32.
    """

    def __init__(self, network: InferenceNetwork, flips: Sequence[Flip] = NO_FLIP, *, batch: int | None = None) -> None:
        """Take the classifier.

        Args:
            network: the classifier.
            flips: see ``CropInferenceSettings``.
            batch: crops that it gets at once; None: ``CROPS_AT_ONCE``.
        """
        self._network, self.flips = network, tuple(flips)
        self._batch = CROPS_AT_ONCE[network.device.type] if batch is None else batch
        self.repeated = 0

    @property
    def precision(self) -> Precision:
        """In which the network computes."""
        return self._network.precision

    def study(self, crops: Iterable[ClassifierCrop], *, clip: bool = True) -> Floats | None:
        """Return the probabilities of a study, (8,): the maximum over its crops; None without a crop.

        Args:
            crops: see ``probabilities``.
            clip: see ``study_probabilities``.

        Raises:
            NonFiniteOutputError: if the output for a crop is not finite.
        """
        probabilities = self.probabilities(crops)
        return study_probabilities(list(probabilities), clip=clip) if len(probabilities) else None

    def probabilities(self, crops: Iterable[ClassifierCrop]) -> Floats:
        """Return the probabilities of the eight targets for each crop, averaged over its flips.

        Args:
            crops: of arrays or of tensors; drawn batch by batch, so that an iterator need not hold all of them.

        Returns:
            (N, 8) in the order of ``levels.TARGETS``; N may be 0.

        Raises:
            NonFiniteOutputError: if the output for a crop is not finite.
        """
        parts = []
        for batch in _batches(crops, self._batch):
            part, again = finite_or_again(self._network.precision, partial(self._forward, batch))
            self.repeated += again
            parts.append(part)
        return np.concatenate(parts) if parts else np.zeros((0, len(TARGETS)))

    def attention(self, crop: ClassifierCrop, target: int) -> Floats:
        """Return how much each slice of a crop can move the logit of a target, (depth,): zero or more, in no unit.

        It is the sum over the slice's plane of the absolute product of the standardised image and the gradient by it
        (Shrikumar et al. 2016).

        Args:
            crop: of arrays or of tensors.
            target: index in ``levels.TARGETS``.
        """
        images = self._input([crop])
        gradient = self._network.gradient(images, target)
        # The image is there twice, as the first two channels; the third is the mask.
        product = gradient[0, :2].sum(dim=0) * images[0, 0].float().cpu()
        return np.asarray(product.abs().sum(dim=(1, 2)).double().numpy())

    def _input(self, crops: list[ClassifierCrop]) -> torch.Tensor:
        return classifier_input(*(part.to(self._network.device) for part in default_collate(crops)))

    def _forward(self, crops: list[ClassifierCrop], precision: Precision) -> Floats:
        images = self._input(crops)
        sigmoid = partial(self._sigmoid, precision)
        return np.asarray(mean_over_flips(images, self.flips, sigmoid, spatial=False).numpy())

    def _sigmoid(self, precision: Precision, images: torch.Tensor) -> torch.Tensor:
        logits = self._network.logits(images, precision).double()
        require_finite(torch.isfinite(logits).all(), precision)
        return torch.sigmoid(logits).cpu()


def _batches(crops: Iterable[ClassifierCrop], size: int) -> Iterator[list[ClassifierCrop]]:
    rest = iter(crops)
    while batch := list(islice(rest, size)):
        yield batch
