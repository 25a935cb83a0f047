"""Vertebra masks: sliding-window prediction, averaged over networks, then checked as a spine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spine_models.data.crops.plausibility import MaskFacts, PlausibilitySettings, check_mask
from spine_models.data.samples.segmentation import standardised
from spine_models.hounsfield import AIR_HU
from spine_models.inference.classify import resolve_precision
from spine_models.models.network import Network
from spine_models.models.sliding_window import sliding_window

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class InferenceSettings:
    """Section ``segmentation.inference`` of the configuration.

    Attributes:
        window: slices of a window, which holds the whole plane.
        overlap: slices that neighbouring windows share.
        z_multiple: the volume is padded with air to a multiple of this.
        batch: windows at once.
    """

    window: int
    overlap: int
    z_multiple: int
    batch: int


def checked_mask(
    half: NDArray[np.int16],
    volume_facts: Mapping[str, Any],
    models: Sequence[nn.Module],
    windows: InferenceSettings,
    plausibility: PlausibilitySettings,
) -> tuple[NDArray[np.uint8], MaskFacts]:
    """Predict the mask of one study, remove its small components and check it.

    Args:
        half: (z, y, x) HU on the half grid.
        volume_facts: of the volume's record: ``mean``, ``std``, ``spacing_mm``, ``half_factor``.
        models: see ``predict_mask``.
        windows: see ``predict_mask``.
        plausibility: settings of the checks.

    Returns:
        The mask, (z, y, x), and what it shows.
    """
    raw = predict_mask(half, volume_facts["mean"], volume_facts["std"], models, windows)
    return check_mask(raw, half_spacing(volume_facts), plausibility)


def prepared(model: Network, device: torch.device) -> nn.Module:
    """Return a copy of ``model`` for inference on ``device``: batch norm folded, channels last."""
    return model.folded().to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]


@torch.inference_mode()
def predict_mask(
    half: NDArray[np.int16], mean: float, std: float, models: Sequence[nn.Module], settings: InferenceSettings
) -> NDArray[np.uint8]:
    """Predict the level of every voxel: the class with the largest mean probability over ``models``.

    Args:
        half: (z, y, x) HU on the half grid.
        mean: of the half volume, in HU.
        std: of the half volume, in HU, above 0.
        models: at least one, all on one device, as ``prepared`` returns them.
        settings: the windows.

    Returns:
        (z, y, x), 0 for background and ``i + 1`` for ``LEVELS[i]``; not yet checked.
    """
    device = next(models[0].parameters()).device
    narrow = _HALF.get(resolve_precision("auto", device))

    def mean_probabilities(windows: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, narrow, enabled=narrow is not None):
            return reduce(torch.add, (torch.softmax(model(windows).float(), dim=1) for model in models)) / len(models)

    volume = torch.from_numpy(standardised(half.astype(np.float32), mean, std)).to(device)
    probabilities = sliding_window(
        volume,
        mean_probabilities,
        window=settings.window,
        overlap=settings.overlap,
        z_multiple=settings.z_multiple,
        fill=(AIR_HU - mean) / std,
        batch=settings.batch,
    )
    return np.asarray(probabilities.argmax(dim=0).to(torch.uint8).cpu().numpy())


def half_spacing(volume_facts: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return the spacing (z, y, x) of the half grid in mm from the facts of a volume's record."""
    z, y, x = volume_facts["spacing_mm"]
    factor = volume_facts["half_factor"]
    return z, y / factor, x / factor
