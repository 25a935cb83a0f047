"""Vertebra masks: predicted, then checked as a spine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spine_models.compute.mask_predictor import MaskPredictor
from spine_models.data.crops.mask_facts import MaskFacts
from spine_models.data.crops.plausibility import PlausibilitySettings, check_mask
from spine_models.data.volume_facts import VolumeFacts


def checked_mask(
    half: NDArray[np.int16],
    volume_facts: VolumeFacts,
    predictor: MaskPredictor,
    plausibility: PlausibilitySettings,
) -> tuple[NDArray[np.uint8], MaskFacts]:
    """Predict the mask of one study, remove its small components and check it.

    Args:
        half: (z, y, x) HU on the half grid.
        volume_facts: of the volume.
        predictor: of the mask.
        plausibility: settings of the checks.

    Returns:
        The mask, (z, y, x), and what it shows.
    """
    raw = predictor.mask(half, volume_facts.mean, volume_facts.std)
    return check_mask(raw, volume_facts.half_spacing_mm, plausibility)
