"""What a scanner writes that is not tissue: values outside its circle, and metal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.anatomy import Patient
from spine_models.data.phantom.canvas import Grid
from spine_models.data.phantom.encoding import PixelStyle, outside_field

BORDERS_HU: tuple[int, ...] = (-2048, -3024)
"""What scanners write outside their circle without a padding tag: -2048 as in the challenge's files, and
-3024, an intercept of -1024 below a stored value of -2000."""
METAL_HU = 30000
"""Metal in the extended scale of 16 bits; a scanner of 12 bits stops at 3071."""

_ROD_MM = (2.5, 20.0)
"""Radius and half length of the rod."""
_ROD_AWAY_MM = (22.0, 38.0)
"""How far its axis is from C4's (mm, times the patient's scale)."""


def can_hold_borders(style: PixelStyle) -> bool:
    """Tell whether a pixel style can store the lowest of ``BORDERS_HU``."""
    return style.signed or style.intercept <= min(BORDERS_HU)


def draw_border(hu: NDArray[np.int16], value: int) -> None:
    """Write ``value`` outside the circular field of view of a volume (z, y, x), in place."""
    hu[:, outside_field(*hu.shape[1:])] = value


def draw_metal(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], grid: Grid, patient: Patient, seed: Sequence[int]
) -> None:
    """Put an upright rod of ``METAL_HU`` near the spine, on any side of it, in place; no vertebra changes.

    Args:
        hu: (z, y, x).
        labels: of the vertebrae, the same shape.
        grid: where the voxels are.
        patient: whose neck it is.
        seed: of the place where it is.
    """
    rng = np.random.default_rng(seed)
    angle, away = rng.uniform(0.0, 2.0 * np.pi), patient.scale * rng.uniform(*_ROD_AWAY_MM)
    place = patient.frames["C4"].world((away * np.sin(angle), away * np.cos(angle), 0.0))
    centre_z, centre_y, centre_x = grid.index_of(place)
    z_mm, y_mm, x_mm = grid.spacing_mm
    rows, columns = np.ogrid[: hu.shape[1], : hu.shape[2]]
    distance = np.hypot((rows - centre_y) * y_mm, (columns - centre_x) * x_mm)
    # At least the nearest pixel, however coarse the matrix is.
    rod = distance <= max(_ROD_MM[0], np.hypot(y_mm, x_mm) / 2)
    slices = np.abs(np.arange(hu.shape[0]) - centre_z) * z_mm <= _ROD_MM[1]
    hu[slices[:, None, None] & rod & (labels == 0)] = METAL_HU
