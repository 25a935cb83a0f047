"""A predicted mask on the slices that a study came with: every one of them, in the plane and the order of its files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dicom.geometry import Grid

Labels = NDArray[np.uint8]
_TIE = 1e-6
"""Part of a step that is not a difference."""


@dataclass(frozen=True)
class OriginalSlices:
    """A mask of the half grid, looked up for original slices; no more than one plane is in memory beside it.

    Attributes:
        mask: (z, y, x) uint8 levels on the half grid, with or without its padding.
        grid: of the study, before ``z_step``.
        z_step: every ``z_step``-th plane of the grid has a mask.
        half_factor: half pixels for each full pixel.
    """

    mask: Labels
    grid: Grid
    z_step: int
    half_factor: float

    def slice(self, index: int) -> Labels:
        """Return the mask of slice ``index`` of ``grid.headers``: (rows, columns) uint8, in the order of its pixels."""
        return self._upsampled(self._nearest(float(self.grid.coordinates[index])))

    def plane(self, index: int) -> Labels:
        """Return the mask of plane ``index`` of the grid: (rows, columns) uint8, in the order of its slices' pixels."""
        return self._upsampled(self._nearest(float(index)))

    def _nearest(self, coordinate: float) -> int:
        """Return the nearest plane that has a mask; of two as near the superior one."""
        nearest = int(np.ceil(coordinate / self.z_step - 0.5 - _TIE))
        return min(max(nearest, 0), len(self.mask) - 1)

    def _upsampled(self, plane: int) -> Labels:
        y, x = self._half_pixels
        return self.grid.in_plane.undo(self.mask[plane][y[:, None], x])

    @cached_property
    def _half_pixels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For each full pixel along y and x the half pixel that its centre is in."""
        _, rows, columns = self.grid.shape
        y, x = (((np.arange(size) + 0.5) * self.half_factor).astype(np.intp) for size in (rows, columns))
        return np.minimum(y, self.mask.shape[1] - 1), np.minimum(x, self.mask.shape[2] - 1)
