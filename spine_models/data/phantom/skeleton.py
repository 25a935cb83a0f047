"""Bone: skull base, jaw, hyoid, ribs, discs and the vertebrae with their fractures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.anatomy import ALL_LEVELS, Frame, Patient
from spine_models.data.phantom.canvas import Slab, Window
from spine_models.data.phantom.fractures import Break
from spine_models.data.phantom.shapes import Field, Point, Vector, capsule, ellipse, ellipsoid, mirrored, union, without
from spine_models.data.phantom.vertebrae import disc_below, label_of, vertebra, vertebra_reach

CORTEX_MM = 1.3
JOINT_MM = 1.1
DISC_HU = 85.0
MIN_LUCENT_HU = -500.0

FractureMarks = dict[str, NDArray[np.bool_]]


def paint_skull(slab: Slab, patient: Patient) -> None:
    """Paint brain, skull base, condyles and jaw; they move with C1."""
    frame, scale = patient.frames["C0"], patient.scale
    window = slab.window_of(frame, (-82.0 * scale, -95.0 * scale, -60.0 * scale), (82.0 * scale, 115.0 * scale, 75.0))
    if window is None:
        return
    point = _scaled(slab.local(frame, window), scale)
    vault = ellipsoid(point, (0.0, 20.0, 79.0), (72.0, 88.0, 66.0)) * np.float32(scale)
    hole = ellipse(point[0], point[1] - np.float32(17.0), 15.0, 17.0)
    slab.paint(window, np.maximum(vault + np.float32(5.0), np.float32(5.0) - np.abs(point[2] - 100)), 32.0)
    shell = without(np.abs(vault + np.float32(2.8)) - np.float32(2.8), hole)
    folded = mirrored(point)
    base = union(shell, _skull_base(folded) * np.float32(scale), 3.0)
    _paint_bone(slab, window, base, patient, 1.0)
    _paint_bone(slab, window, _mastoid(folded) * np.float32(scale), patient, 0.55)
    _paint_bone(slab, window, _jaw(folded) * np.float32(scale), patient, 1.2)


def _skull_base(folded: Point) -> Field:
    clivus = capsule(
        (folded[0] * np.float32(0.5), folded[1], folded[2]), (0.0, -1.0, 17.0), (0.0, -25.0, 48.0), 4.5, 6.5
    )
    condyle = ellipsoid(folded, (16.5, 3.0, 12.5), (5.8, 10.5, 5.5))
    bridge = capsule(folded, (17.0, 4.0, 16.0), (24.0, 12.0, 22.0), 5.0)
    petrous = capsule(folded, (16.0, -14.0, 33.0), (56.0, 8.0, 30.0), 7.0, 9.0)
    styloid = capsule(folded, (33.0, -6.0, 18.0), (27.0, -20.0, -12.0), 1.9, 1.2)
    pterygoid = capsule(folded, (13.0, -36.0, 34.0), (15.0, -38.0, 6.0), 1.6)
    shape = union(union(clivus, condyle, 3.0), union(bridge, petrous, 3.0), 3.0)
    return union(shape, np.minimum(styloid, pterygoid))


def _mastoid(folded: Point) -> Field:
    return ellipsoid(folded, (51.0, 12.0, 13.0), (9.0, 12.0, 18.0))


def _jaw(folded: Point) -> Field:
    ramus = capsule((folded[0], folded[1] * np.float32(0.35), folded[2]), (49.0, -8.0, 24.0), (46.0, -11.0, -24.0), 3.6)
    body = capsule(folded, (45.0, -38.0, -28.0), (12.0, -82.0, -36.0), 5.0, 6.0, tall=1.8)
    return union(ramus, body, 4.0)


def paint_small_bones(slab: Slab, patient: Patient) -> None:
    """Paint hyoid bone, calcified thyroid cartilage, and the first ribs."""
    _paint_part(slab, patient, "C3", (-26.0, -62.0, -26.0), (26.0, -18.0, -2.0), _hyoid, 0.6)
    _paint_part(slab, patient, "C5", (-26.0, -64.0, -14.0), (26.0, -20.0, 20.0), _thyroid_cartilage, 0.2)
    for level in ("T1", "T2", "T3"):
        _paint_part(slab, patient, level, (-95.0, -60.0, -40.0), (95.0, 50.0, 16.0), _rib, 1.0)


def _hyoid(point: Point) -> Field:
    folded = mirrored(point)
    body = capsule(folded, (0.0, -52.0, -14.0), (12.0, -48.0, -13.0), 2.6, 2.2, tall=1.5)
    return union(body, capsule(folded, (12.0, -48.0, -13.0), (20.0, -26.0, -9.0), 2.0, 1.6))


def _thyroid_cartilage(point: Point) -> Field:
    return capsule(mirrored(point), (1.0, -55.0, 3.0), (20.0, -28.0, 4.0), 1.5, tall=7.0)


def _rib(point: Point) -> Field:
    folded = mirrored(point)
    neck = capsule(folded, (14.0, 7.0, 4.0), (36.0, 21.0, 3.0), 3.2)
    shaft = capsule(folded, (36.0, 21.0, 3.0), (66.0, 6.0, -10.0), 3.4, tall=1.4)
    front = capsule(folded, (66.0, 6.0, -10.0), (62.0, -38.0, -26.0), 3.4, tall=1.4)
    return union(union(neck, shaft), front)


def _paint_part(
    slab: Slab, patient: Patient, level: str, low: Vector, high: Vector, shape: Callable[[Point], Field], density: float
) -> None:
    frame, scale = patient.frames[level], patient.scale
    corners = (tuple(scale * value for value in corner) for corner in (low, high))
    (x0, y0, z0), (x1, y1, z1) = corners
    window = slab.window_of(frame, (x0, y0, z0), (x1, y1, z1))
    if window is not None:
        distance = shape(_scaled(slab.local(frame, window), scale)) * np.float32(scale)
        _paint_bone(slab, window, distance, patient, density)


def paint_discs(slab: Slab, patient: Patient) -> None:
    """Paint the discs from C2/C3 downwards; the bodies are painted over their edges."""
    for upper, lower in zip(ALL_LEVELS[1:], ALL_LEVELS[2:], strict=False):
        size, frame = patient.sizes[upper], patient.frames[upper]
        reach = size.wide + 4.0
        low = (-reach, -size.deep - 4.0, -size.pitch)
        window = slab.window_of(frame, low, (reach, size.deep + 4.0, 0.0))
        if window is not None:
            point = slab.local(frame, window)
            slab.paint(window, disc_below(upper, size, patient.sizes[lower], point), DISC_HU)


def paint_vertebrae(
    slab: Slab, patient: Patient, breaks: Mapping[str, Break]
) -> list[tuple[Window, NDArray[np.bool_]]]:
    """Paint all levels, their labels and their fractures.

    Returns:
        for each fracture that this slab shows, a window and which of its voxels the lucent line runs through.
    """
    marks = []
    for level in ALL_LEVELS:
        frame = patient.frames[level]
        window = slab.window_of(frame, *vertebra_reach(level, patient.sizes[level]))
        if window is not None:
            mark = _paint_vertebra(slab, patient, level, frame, window, breaks.get(level))
            if mark is not None and mark.any():
                marks.append((window, mark))
    return marks


def _paint_vertebra(
    slab: Slab, patient: Patient, level: str, frame: Frame, window: Window, broken: Break | None
) -> NDArray[np.bool_] | None:
    point = slab.local(frame, window)
    side = broken.side(point) if broken else None
    if broken is not None and side is not None:
        point = broken.moved(point, side)
    near = slab.nearest[window]
    # Joints: a level keeps its distance from the bones above it.
    distance = np.maximum(vertebra(level, patient.sizes[level], point), np.float32(JOINT_MM) - near)
    slab.nearest[window] = np.minimum(near, distance)
    bone = _bone_hu(slab, distance, patient, 1.0)
    mark = None
    if broken is not None and side is not None:
        lucency = broken.lucency(side, slab.voxel)
        bone -= lucency * np.float32(broken.contrast_hu)
        np.maximum(bone, np.float32(MIN_LUCENT_HU), out=bone)
        mark = (np.abs(side) <= max(broken.width, slab.voxel) / 2) & (distance < 0)
    slab.paint(window, distance, bone)
    labels = slab.labels[window]
    labels[(distance < 0) & (labels == 0)] = label_of(level)
    return mark


def _bone_hu(slab: Slab, distance: Field, patient: Patient, density: float) -> Field:
    """Return spongy bone inside a cortical shell (HU)."""
    spongy, cortical = patient.bone_hu
    shell = np.clip((np.float32(CORTEX_MM) + distance) * np.float32(1 / slab.voxel) + np.float32(0.5), 0, 1)
    bone: Field = np.float32(density * spongy) + shell * np.float32(density * (cortical - spongy))
    return bone


def _paint_bone(slab: Slab, window: Window, distance: Field, patient: Patient, density: float) -> None:
    slab.paint(window, distance, _bone_hu(slab, distance, patient, density))
    slab.nearest[window] = np.minimum(slab.nearest[window], distance)


def _scaled(point: Point, scale: float) -> Point:
    x, y, z = (coordinate * np.float32(1 / scale) for coordinate in point)
    return x, y, z
