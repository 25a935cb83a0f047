"""Intensities: the one fill value in Hounsfield units, and the type in which images are stored and handed on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AIR_HU = -1000
"""The one fill value: rotation borders, padding, z beyond the volume, padding tags (method, crops and targets)."""


def whole_hu(image: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round resampled HU to whole ones (half to even), which is what scanners store; C-contiguous.

    Resampling is linear, so that nothing leaves the range of the int16 that it started from.
    """
    return np.ascontiguousarray(np.rint(image).astype(np.int16))
