"""Soft-edged implicit shapes: signed distances in mm, negative inside, evaluated on a box of voxels.

A point is a triple of float32 arrays of equal (or broadcastable) shape (z, y, x) that hold its local
coordinates in mm: x towards the patient's left, y backwards, z upwards. Distances are exact for capsules and
boxes and good near the surface for ellipses, which is where they matter. The formulas are the usual ones of
constructive geometry with distance functions (a ratio of the implicit function to its gradient for ellipsoids,
a quadratic blend for smooth unions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Point = tuple[Field, Field, Field]
Vector = tuple[float, float, float]

FAR_MM = 50.0
"""Distance that stands for "nothing near"."""

_TINY = np.float32(1e-6)  # keeps the centre of an ellipse, where value and gradient vanish, at minus the least radius


def mirrored(point: Point) -> Point:
    """Fold the right half of space onto the left, so that one shape stands for a symmetric pair."""
    return np.abs(point[0]), point[1], point[2]


def ellipsoid(point: Point, centre: Vector, radii: Vector) -> Field:
    """Return the distance to an ellipsoid (mm), first order in the distance from its surface."""
    squares = [
        ((coordinate - np.float32(middle)) * np.float32(1.0 / radius)) ** 2
        for coordinate, middle, radius in zip(point, centre, radii, strict=True)
    ]
    root = np.sqrt(squares[0] + squares[1] + squares[2])
    weights = [np.float32(1.0 / radius**2) for radius in radii]
    slope = np.sqrt(squares[0] * weights[0] + squares[1] * weights[1] + squares[2] * weights[2])
    distance: Field = (root - 1) * (root + _TINY * np.float32(min(radii))) / (slope + _TINY)
    return distance


def ellipse(across: Field, along: Field, radius_across: Field | float, radius_along: Field | float) -> Field:
    """Return the distance to an elliptic cylinder (mm); the coordinates are relative to its axis.

    Radii may be arrays, for a cylinder whose section changes from slice to slice.
    """
    wide, deep = np.asarray(radius_across, np.float32), np.asarray(radius_along, np.float32)
    u, v = across / wide, along / deep
    root = np.sqrt(u * u + v * v)
    u, v = u / wide, v / deep
    distance: Field = (root - 1) * (root + _TINY * np.minimum(wide, deep)) / (np.sqrt(u * u + v * v) + _TINY)
    return distance


def capsule(
    point: Point, start: Vector, end: Vector, radius: float, end_radius: float | None = None, *, tall: float = 1.0
) -> Field:
    """Return the distance to a rod with round ends (mm).

    Args:
        point: where to evaluate.
        start: one end of its axis.
        end: the other end.
        radius: its radius at the start.
        end_radius: its radius at the end, if another.
        tall: height of the section over its width: above 1 the rod is a standing plate.
    """
    squeeze = np.array([1.0, 1.0, 1.0 / tall])
    first, axis = np.asarray(start) * squeeze, (np.asarray(end) - np.asarray(start)) * squeeze
    length = float(axis @ axis)
    x, y = point[0] - np.float32(first[0]), point[1] - np.float32(first[1])
    z = point[2] * np.float32(1.0 / tall) - np.float32(first[2])
    ax, ay, az = (np.float32(value) for value in axis)
    along = np.clip((x * ax + y * ay + z * az) * np.float32(1.0 / length), 0, 1)
    x, y, z = x - along * ax, y - along * ay, z - along * az
    thickness = np.float32(radius)
    if end_radius is not None:
        thickness = thickness + along * np.float32(end_radius - radius)
    distance: Field = np.sqrt(x * x + y * y + z * z) - thickness
    return distance


def box(point: Point, centre: Vector, half: Vector, rounding: float) -> Field:
    """Return the distance to a box with rounded edges (mm); ``half`` are its half sides, rounding included."""
    outside = np.float32(0.0)
    inside: Field | None = None
    for coordinate, middle, size in zip(point, centre, half, strict=True):
        excess = np.abs(coordinate - np.float32(middle)) - np.float32(size - rounding)
        outside = outside + np.maximum(excess, 0) ** 2
        inside = excess if inside is None else np.maximum(inside, excess)
    assert inside is not None
    distance: Field = np.sqrt(outside) + np.minimum(inside, 0) - np.float32(rounding)
    return distance


def union(first: Field, second: Field, blend: float = 1.5) -> Field:
    """Join two shapes; the seam is rounded over ``blend`` mm."""
    bridge = np.maximum(np.float32(1.0) - np.abs(first - second) * np.float32(1.0 / blend), 0)
    joined: Field = np.minimum(first, second) - bridge * bridge * np.float32(blend / 4)
    return joined


def without(shape: Field, hole: Field) -> Field:
    """Cut ``hole`` out of ``shape``."""
    cut: Field = np.maximum(shape, -hole)
    return cut
