"""The vertebrae with their labels and fractures, and the discs between them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.anatomy import ALL_LEVELS, Patient
from spine_models.data.phantom.bone import bone_hu
from spine_models.data.phantom.canvas import Slab, Window
from spine_models.data.phantom.fractures import Break
from spine_models.data.phantom.shapes import FAR_MM, Field, Point
from spine_models.data.phantom.vertebrae import disc_below, label_of, may_hold, vertebra, vertebra_reach

JOINT_MM = 1.1
"""Gap of the joints between bones."""

DISC_HU = 85.0
MIN_LUCENT_HU = -500.0
"""No fracture line is darker: gas in a cleft."""

Mark = tuple[Window, NDArray[np.bool_]]


def paint_discs(slab: Slab, patient: Patient) -> None:
    """Paint the discs from C2/C3 downwards; the bodies are painted over their edges."""
    for upper, lower in pairwise(ALL_LEVELS[1:]):
        size, frame = patient.sizes[upper], patient.frames[upper]
        reach = size.wide + 4.0
        window = slab.window_of(frame, (-reach, -size.deep - 4.0, -size.pitch), (reach, size.deep + 4.0, 0.0))
        if window is not None:
            slab.paint(window, disc_below(size, patient.sizes[lower], slab.local(frame, window)), DISC_HU)


def paint_vertebrae(slab: Slab, patient: Patient, breaks: Mapping[str, Break]) -> list[Mark]:
    """Paint all levels, their labels and their fractures.

    Returns:
        for each fracture that this slab shows, a window and which of its voxels the lucent line runs through.
    """
    marks = []
    for level in ALL_LEVELS:
        window = slab.window_of(patient.frames[level], *vertebra_reach(level, patient.sizes[level]))
        if window is not None:
            mark = _paint_vertebra(slab, patient, level, window, breaks.get(level))
            if mark.any():
                marks.append((window, mark))
    return marks


def _paint_vertebra(
    slab: Slab, patient: Patient, level: str, window: Window, broken: Break | None
) -> NDArray[np.bool_]:
    point = slab.local(patient.frames[level], window)
    source, side = point, None
    if broken is not None:
        side = broken.side(point)
        source = broken.moved(point, side)
    near = slab.nearest[window]
    # Joints: a level keeps its distance from the bones above it.
    distance = np.maximum(_distance(patient, level, source), np.float32(JOINT_MM) - near)
    slab.nearest[window] = np.minimum(near, distance)
    bone = bone_hu(slab, distance, patient)
    mark = np.zeros(distance.shape, np.bool_)
    if broken is not None and side is not None:
        bone -= broken.lucency(side, slab.voxel) * np.float32(broken.contrast_hu)
        np.maximum(bone, np.float32(MIN_LUCENT_HU), out=bone)
        mark = (np.abs(side) <= max(broken.width, slab.voxel) / 2) & (distance < 0)
    slab.paint(window, distance, bone)
    labels = slab.labels[window]
    labels[(distance < 0) & (labels == 0)] = label_of(level)
    return mark


def _distance(patient: Patient, level: str, point: Point) -> Field:
    """Evaluate a level's shape only where it may be: a third of its box."""
    size = patient.sizes[level]
    chosen = may_hold(level, size, point)
    distance = np.full(chosen.shape, FAR_MM, np.float32)
    x, y, z = (coordinate[chosen] for coordinate in point)
    distance[chosen] = vertebra(level, size, (x, y, z))
    return distance
