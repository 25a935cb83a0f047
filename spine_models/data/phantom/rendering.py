"""From a patient and a grid to Hounsfield units and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.anatomy import Matrix, Patient
from spine_models.data.phantom.canvas import Grid, Slab
from spine_models.data.phantom.fractures import Break
from spine_models.data.phantom.shapes import Field, ellipsoid
from spine_models.data.phantom.skull import paint_brain, paint_parts
from spine_models.data.phantom.soft_tissue import paint_lungs, paint_soft_tissue
from spine_models.data.phantom.spine import paint_discs, paint_vertebrae

MARKER_HU = 2500.0
MARKER_MM = 3.0
MARKER_OFFSET = (36.0, -30.0, 0.0)
"""Where the bead is in the frame of C3: 36 mm to the patient's left, 30 mm in front (times the patient's scale)."""

_SLAB_VOXELS = 3_000_000
_SHOULDER_NOISE = 1.2

Boxes = dict[int, tuple[int, int, int, int]]
"""Slice to the box (x0, y0, x1, y1), half open, of what a fracture shows there."""


@dataclass(frozen=True)
class Rendered:
    """One study without its files.

    Attributes:
        hu: int16 (z, y, x), z from superior to inferior.
        labels: uint8 (z, y, x), 1-7 for C1-C7, 8 and above for T1 and below.
        grid: where the voxels are.
        boxes: the fractures' boxes, slice by slice.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    grid: Grid
    boxes: Boxes


def marker_position(patient: Patient) -> Matrix:
    """Return the world coordinates of the bead's centre (mm)."""
    x, y, z = (patient.scale * value for value in MARKER_OFFSET)
    return patient.frames["C3"].world((x, y, z))


def render(
    patient: Patient, grid: Grid, breaks: Mapping[str, Break], *, noise_hu: float, seed: list[int], marker: bool
) -> Rendered:
    """Paint a study slab by slab.

    Args:
        patient: the anatomy in its pose.
        grid: voxel centres.
        breaks: level to its fracture.
        noise_hu: standard deviation of the noise in the neck; it is higher between the shoulders.
        seed: seed of the noise; a slice's noise depends on it and on the slice's number only.
        marker: whether to paint the bead.
    """
    hu = np.empty(grid.shape, np.int16)
    labels = np.zeros(grid.shape, np.uint8)
    boxes: Boxes = {}
    depth = max(4, _SLAB_VOXELS // (grid.shape[1] * grid.shape[2]))
    shoulders = float(patient.frames["T1"].origin[2])
    for start in range(0, grid.shape[0], depth):
        slab = Slab(grid, start, min(start + depth, grid.shape[0]))
        _paint(slab, patient, breaks, marker, boxes)
        for row in range(len(slab.zs)):
            level = noise_hu * (1 + _SHOULDER_NOISE / (1 + np.exp((slab.zs[row] - shoulders) / 8.0)))
            slab.hu[row] += _noise(np.random.default_rng([*seed, start + row]), slab.hu.shape[1:], float(level))
        stop = start + len(slab.zs)
        hu[start:stop] = np.clip(np.rint(slab.hu), -1024, 3071).astype(np.int16)
        labels[start:stop] = slab.labels
    return Rendered(hu, labels, grid, boxes)


def _paint(slab: Slab, patient: Patient, breaks: Mapping[str, Break], marker: bool, boxes: Boxes) -> None:
    paint_soft_tissue(slab, patient)
    paint_lungs(slab, patient)
    paint_discs(slab, patient)
    paint_brain(slab, patient)
    paint_parts(slab, patient)
    for window, mark in paint_vertebrae(slab, patient, breaks):
        _add_boxes(boxes, mark, slab.start + window[0].start, window[1].start, window[2].start)
    if marker:
        _paint_marker(slab, marker_position(patient))


def _paint_marker(slab: Slab, centre: Matrix) -> None:
    radius = np.full(3, MARKER_MM + slab.voxel)
    window = slab.window(centre - radius, centre + radius)
    if window is None:
        return
    x = (slab.xs[window[2]] - centre[0]).astype(np.float32)[None, None, :]
    y = (slab.ys[window[1]] - centre[1]).astype(np.float32)[None, :, None]
    z = (slab.zs[window[0]] - centre[2]).astype(np.float32)[:, None, None]
    slab.paint(window, ellipsoid((x, y, z), (0.0, 0.0, 0.0), (MARKER_MM,) * 3), MARKER_HU)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], level: float) -> Field:
    """Return noise of a slice: grains of about two pixels, and faint streaks from side to side."""
    rows, columns = shape
    white = rng.standard_normal((rows + 1, columns + 1), dtype=np.float32)
    grains = (white[:-1, :-1] + white[1:, :-1] + white[:-1, 1:] + white[1:, 1:]) * np.float32(0.5)
    streaks = rng.standard_normal((rows, 1), dtype=np.float32)
    noise: Field = (grains + np.float32(0.25) * streaks) * np.float32(level)
    return noise


def _add_boxes(boxes: Boxes, mark: NDArray[np.bool_], slice_0: int, row_0: int, column_0: int) -> None:
    for index in np.flatnonzero(mark.any(axis=(1, 2))):
        rows = np.flatnonzero(mark[index].any(axis=1)) + row_0
        columns = np.flatnonzero(mark[index].any(axis=0)) + column_0
        x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        key = slice_0 + int(index)
        if key in boxes:
            old = boxes[key]
            x0, y0, x1, y1 = min(x0, old[0]), min(y0, old[1]), max(x1, old[2]), max(y1, old[3])
        boxes[key] = (x0, y0, x1, y1)
