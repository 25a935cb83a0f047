"""Crops in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spine_models.evaluation.competition import Floats
from spine_models.levels import TARGETS
from spine_models.models.network import Network

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ClassifySettings:
    """How classifiers compute.

    Attributes:
        batch: crops at once.
        precision: "fp32", "bf16" or "fp16"; "auto" is bf16 on a GPU that has it, fp16 on another one, and fp32 on
            the CPU.
    """

    batch: int = 4
    precision: Precision = "auto"


class CropClassifier:
    """One classifier, folded and laid out for inference."""

    def __init__(self, model: Network, device: torch.device, settings: ClassifySettings) -> None:
        """Make a folded copy of ``model`` in channels-last layout.

        Args:
            model: in evaluation mode, as ``load_model`` returns it; stays as it is.
            device: where it computes.
            settings: batch and precision.
        """
        self._model = model.folded().to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._device = device
        self._batch = settings.batch
        self._precision = settings.precision

    def probabilities(self, crops: Iterable[NDArray[np.float32]]) -> Floats:
        """Return the probabilities of the eight targets for each crop.

        Args:
            crops: each (3, depth, size, size) as ``data.crops.classifier_input`` makes it; drawn batch by batch, so
                that an iterator need not hold all of them.

        Returns:
            (N, 8) in the order of ``levels.TARGETS``; N may be 0.
        """
        parts = [self._forward(np.stack(batch)) for batch in _batches(crops, self._batch)]
        return np.concatenate(parts) if parts else np.zeros((0, len(TARGETS)))

    @torch.inference_mode()
    def _forward(self, crops: NDArray[np.float32]) -> Floats:
        images = torch.from_numpy(crops).to(self._device, memory_format=torch.channels_last_3d)
        with autocast(self._precision, self._device):
            logits = self._model(images)
        return np.asarray(torch.sigmoid(logits.double()).cpu().numpy())


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes with ``precision`` on ``device``."""
    half = _HALF.get(resolve_precision(precision, device))
    return torch.autocast(device.type, half, enabled=half is not None)


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what "auto" means on ``device``, and any other precision as it is."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def _batches(crops: Iterable[NDArray[np.float32]], size: int) -> Iterator[list[NDArray[np.float32]]]:
    rest = iter(crops)
    while batch := list(islice(rest, size)):
        yield batch
