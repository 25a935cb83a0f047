"""The grid of a study, and the slab of slices that is being painted.

A study is painted slab by slab, so that memory stays bounded at any matrix; every voxel is computed only from
its own position, so that the slabs leave no trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.anatomy import Frame, Matrix
from spine_models.data.phantom.shapes import FAR_MM, Field, Point, Vector
from spine_models.hounsfield import AIR_HU

Window = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """Voxel centres of a study: array axes (z, y, x), z from superior to inferior, no rotation.

    Attributes:
        shape: (z, y, x).
        spacing_mm: (z, y, x).
        first: world coordinates (x, y, z) of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    first: tuple[float, float, float]

    @property
    def voxel_mm(self) -> float:
        """Mean side of a voxel: the softness of edges."""
        return sum(self.spacing_mm) / 3

    def heights(self) -> Matrix:
        """Return the world z of every slice, falling."""
        place: Matrix = self.first[2] - self.spacing_mm[0] * np.arange(self.shape[0], dtype=np.float64)
        return place

    def affine_lps(self) -> Matrix:
        """Return the 4x4 matrix from (z, y, x, 1) indices to DICOM patient coordinates (mm)."""
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = -self.spacing_mm[0], self.spacing_mm[1], self.spacing_mm[2]
        affine[:3, 3] = self.first
        affine[3, 3] = 1.0
        return affine

    def index_of(self, world: Matrix) -> tuple[float, float, float]:
        """Return the fractional (z, y, x) index of a point."""
        x, y, z = (float(value) for value in world - np.asarray(self.first))
        return -z / self.spacing_mm[0], y / self.spacing_mm[1], x / self.spacing_mm[2]


class Slab:
    """Some neighbouring slices of a grid.

    Attributes:
        start: index of the first slice.
        hu: float32 (z, y, x), starts as air.
        labels: uint8 (z, y, x), 1 for C1 and so on.
        nearest: float32 (z, y, x), distance to the bones painted so far (mm), where they were evaluated.
        voxel: softness of edges (mm).
    """

    def __init__(self, grid: Grid, start: int, stop: int) -> None:
        shape = (stop - start, *grid.shape[1:])
        self.start = start
        self.voxel = grid.voxel_mm
        self.hu: Field = np.full(shape, AIR_HU, np.float32)
        self.labels: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.nearest: Field = np.full(shape, FAR_MM, np.float32)
        self.zs = grid.heights()[start:stop]
        self.ys: Matrix = grid.first[1] + grid.spacing_mm[1] * np.arange(shape[1], dtype=np.float64)
        self.xs: Matrix = grid.first[0] + grid.spacing_mm[2] * np.arange(shape[2], dtype=np.float64)

    def window(self, low: Matrix, high: Matrix) -> Window | None:
        """Return the voxels between two world corners (x, y, z), or None if there are none."""
        rows = _between(self.ys, low[1], high[1])
        columns = _between(self.xs, low[0], high[0])
        falling = _between(-self.zs, -high[2], -low[2])
        if rows is None or columns is None or falling is None:
            return None
        return falling, rows, columns

    def window_of(self, frame: Frame, low: Vector, high: Vector) -> Window | None:
        """Return the voxels around a box given in local coordinates."""
        corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        world = frame.origin + corners @ frame.axes.T
        return self.window(world.min(axis=0), world.max(axis=0))

    def local(self, frame: Frame, window: Window) -> Point:
        """Return the local coordinates of the voxels in ``window``."""
        zs, ys, xs = self.zs[window[0]], self.ys[window[1]], self.xs[window[2]]
        first, second, third = (self._axis(frame, axis, zs, ys, xs) for axis in range(3))
        return first, second, third

    def local_window(self, frame: Frame, low: Vector, high: Vector, scale: float) -> tuple[Window, Point] | None:
        """Return the voxels around a box of an average patient, and their coordinates in that patient's mm."""
        (x0, y0, z0), (x1, y1, z1) = (tuple(scale * value for value in corner) for corner in (low, high))
        window = self.window_of(frame, (x0, y0, z0), (x1, y1, z1))
        if window is None:
            return None
        return window, self.local(Frame(frame.origin, frame.axes / scale), window)

    @staticmethod
    def _axis(frame: Frame, axis: int, zs: Matrix, ys: Matrix, xs: Matrix) -> Field:
        direction, origin = frame.axes[:, axis], frame.origin
        flat = (direction[0] * (xs - origin[0])).astype(np.float32)[None, None, :]
        deep = (direction[1] * (ys - origin[1])).astype(np.float32)[None, :, None]
        tall = (direction[2] * (zs - origin[2])).astype(np.float32)[:, None, None]
        place: Field = flat + deep + tall
        return place

    def coverage(self, distance: Field) -> Field:
        """Return which part of each voxel a shape fills, from 0 to 1 (partial volume)."""
        filled: Field = np.clip(np.float32(0.5) - distance * np.float32(1 / self.voxel), 0, 1)
        return filled

    def paint(self, window: Window, distance: Field, value: Field | float) -> None:
        """Mix ``value`` (HU) into the voxels of ``window`` by how much of each the shape fills."""
        target = self.hu[window]
        target += self.coverage(distance) * (np.float32(value) - target)


def _between(places: Matrix, low: float, high: float) -> slice | None:
    first, last = np.searchsorted(places, [low, high])
    return slice(int(first), int(last)) if first < last else None
