"""Fractures: lucent planes through a part of a vertebra, and the shift of the fragment on one side of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spine_models.data.phantom.anatomy import VertebraSize
from spine_models.data.phantom.settings import GradeSettings
from spine_models.data.phantom.shapes import Field, Point, Vector
from spine_models.data.phantom.vertebrae import DENS_BASE

KINDS: dict[str, tuple[str, ...]] = {
    "C1": ("ring",),
    "C2": ("dens", "body_sagittal", "lamina", "spinous"),
    "C3": ("body_sagittal", "body_coronal", "body_transverse", "lamina", "spinous"),
}
"""Kinds of fracture by level; the levels below C3 have those of C3."""

OBVIOUS_KINDS: dict[str, tuple[str, ...]] = {
    "C1": ("ring",),
    "C2": ("dens", "body_sagittal"),
    "C3": ("body_sagittal", "body_coronal", "body_transverse"),
}
"""Kinds that an obvious fracture may have: those that run through the whole body, dens or ring."""


@dataclass(frozen=True)
class Fracture:
    """What the truth table says of one fracture: level, grade and kind."""

    level: str
    grade: str
    kind: str


@dataclass(frozen=True)
class Break:
    """A fracture's geometry in the frame of its vertebra (mm).

    Attributes:
        through: a point of the plane.
        normal: unit normal, pointing into the fragment that moves.
        shift: displacement of that fragment; lies in the plane.
        low: lower corner of the part of the vertebra that is broken.
        high: its upper corner.
        width: thickness of the lucent line.
        contrast_hu: how much darker than bone it is.
    """

    through: Vector
    normal: Vector
    shift: Vector
    low: Vector
    high: Vector
    width: float
    contrast_hu: float

    def side(self, point: Point) -> Field:
        """Return the signed distance to the plane, positive in the fragment; far away outside the broken part."""
        distance = np.float32(-self.width)
        for coordinate, place, direction in zip(point, self.through, self.normal, strict=True):
            distance = distance + (coordinate - np.float32(place)) * np.float32(direction)
        outside = np.zeros(np.broadcast_shapes(*(axis.shape for axis in point)), bool)
        for coordinate, low, high in zip(point, self.low, self.high, strict=True):
            outside |= (coordinate < np.float32(low)) | (coordinate > np.float32(high))
        return np.where(outside, np.float32(-1e3), distance + np.float32(self.width))

    def moved(self, point: Point, side: Field) -> Point:
        """Return where the matter at ``point`` came from: points in the fragment are shifted back."""
        inside = (side > 0).astype(np.float32)
        x, y, z = (coordinate - inside * np.float32(shift) for coordinate, shift in zip(point, self.shift, strict=True))
        return x, y, z

    def lucency(self, side: Field, voxel: float) -> Field:
        """Return how much of a voxel of size ``voxel`` (mm) the lucent line fills, from 0 to 1."""
        depth = (np.float32(self.width / 2) - np.abs(side)) * np.float32(1 / voxel)
        filled: Field = np.clip(depth + np.float32(0.5), 0, min(1.0, self.width / voxel))
        return filled


def kinds_of(level: str, grade: str) -> tuple[str, ...]:
    """Return the kinds of fracture that a level can have at a grade."""
    table = OBVIOUS_KINDS if grade == "obvious" else KINDS
    return table.get(level, table["C3"])


def draw_break(rng: np.random.Generator, fracture: Fracture, size: VertebraSize, grade: GradeSettings) -> Break:
    """Draw place, inclination and direction of a fracture of a given kind and grade."""
    through, normal, along, low, high = _plane(rng, fracture.kind, size)
    tilted = np.asarray(normal) + rng.uniform(-0.15, 0.15, 3)
    tilted /= np.linalg.norm(tilted)
    direction = np.asarray(along) - (np.asarray(along) @ tilted) * tilted
    direction *= grade.displacement_mm / np.linalg.norm(direction)
    return Break(
        through, _vector(tilted), _vector(direction), low, high, float(grade.width_mm), float(grade.contrast_hu)
    )


def _plane(rng: np.random.Generator, kind: str, size: VertebraSize) -> tuple[Vector, Vector, Vector, Vector, Vector]:
    """Return a point, the normal, the direction of the shift and the corners of the broken part."""
    everything: tuple[Vector, Vector] = ((-99.0, -99.0, -99.0), (99.0, 99.0, 99.0))
    hand = float(rng.choice([-1.0, 1.0]))
    back = size.deep + 17.5
    if kind == "ring":
        place = hand * rng.uniform(6.0, 9.0)
        return (place, 0.0, 0.0), (hand, 0.0, 0.0), (0.0, -1.0, 0.3 * hand), *everything
    if kind == "dens":
        height = DENS_BASE * size.tall + rng.uniform(0.5, 4.0)
        return (0.0, 0.0, height), (0.0, 0.0, 1.0), (0.0, hand, 0.0), (-9.0, -10.0, -99.0), (9.0, 9.0, 99.0)
    if kind == "body_sagittal":
        place = rng.uniform(-0.25, 0.25) * size.wide
        return (place, 0.0, 0.0), (hand, 0.0, 0.0), (0.0, hand, 0.4), *everything
    if kind == "body_coronal":
        place = rng.uniform(-0.35, 0.15) * size.deep
        return (0.0, place, 0.0), (0.0, -1.0, 0.0), (0.4 * hand, 0.0, -1.0), *everything
    if kind == "body_transverse":
        place = rng.uniform(-0.3, 0.3) * size.tall
        return (0.0, 0.0, place), (0.0, 0.0, 1.0), (0.3 * hand, -1.0, 0.0), *everything
    if kind == "lamina":
        place = hand * rng.uniform(5.0, 9.0)
        return (place, back, 0.0), (hand, 0.0, 0.0), (0.0, 1.0, 0.3), (-99.0, size.deep + 6.0, -99.0), everything[1]
    if kind == "spinous":
        place = back + size.spinous * rng.uniform(0.3, 0.6)
        return (0.0, place, 0.0), (0.0, 1.0, 0.2), (0.2, 0.0, -1.0), (-99.0, back, -99.0), everything[1]
    raise ValueError(f"unknown kind of fracture: {kind}")


def _vector(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
