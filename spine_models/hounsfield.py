"""Intensities: the one fill value in Hounsfield units, and how volumes are standardised for the networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AIR_HU = -1000
"""The one fill value: rotation borders, padding, z beyond the volume, padding tags (method, crops and targets)."""


def standardised(image: NDArray[np.float32], mean: float, std: float) -> NDArray[np.float32]:
    """Return ``(image - mean) / std`` in float32; both numbers are the half volume's, in HU, and ``std`` is above 0."""
    return (image - np.float32(mean)) / np.float32(std)
