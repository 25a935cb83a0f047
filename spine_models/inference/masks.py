"""Vertebra masks: predicted, then checked as a spine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spine_models.compute.mask_predictor import MaskPredictor
from spine_models.data.crops.mask_facts import MaskFacts
from spine_models.data.crops.plausibility import PlausibilitySettings, check_mask


def checked_mask(
    half: NDArray[np.int16],
    volume_facts: Mapping[str, Any],
    predictor: MaskPredictor,
    plausibility: PlausibilitySettings,
) -> tuple[NDArray[np.uint8], MaskFacts]:
    """Predict the mask of one study, remove its small components and check it.

    Args:
        half: (z, y, x) HU on the half grid.
        volume_facts: of the volume's record: ``mean``, ``std``, ``spacing_mm``, ``half_factor``.
        predictor: of the mask.
        plausibility: settings of the checks.

    Returns:
        The mask, (z, y, x), and what it shows.
    """
    raw = predictor.mask(half, volume_facts["mean"], volume_facts["std"])
    return check_mask(raw, half_spacing(volume_facts), plausibility)


def half_spacing(volume_facts: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return the spacing (z, y, x) of the half grid in mm from the facts of a volume's record."""
    z, y, x = volume_facts["spacing_mm"]
    factor = volume_facts["half_factor"]
    return z, y / factor, x / factor
