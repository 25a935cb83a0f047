"""Fractures: lucent planes through a part of a vertebra, and the shift of the fragment on one side of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.anatomy import VertebraSize
from spine_models.data.phantom.settings import GradeSettings
from spine_models.data.phantom.shapes import Field, Point, Vector
from spine_models.data.phantom.vertebrae import DENS_BASE

_EVERYWHERE = 999.0

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
        shift: displacement of that fragment, in the plane.
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
        shape = np.broadcast_shapes(*(axis.shape for axis in point))
        distance, outside = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
        for coordinate, place, direction in zip(point, self.through, self.normal, strict=True):
            distance += (coordinate - np.float32(place)) * np.float32(direction)
        for coordinate, low, high in zip(point, self.low, self.high, strict=True):
            outside |= (coordinate < np.float32(low)) | (coordinate > np.float32(high))
        distance[outside] = -_EVERYWHERE
        return distance

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
    hand = float(rng.choice([-1.0, 1.0]))
    plane = _PLANES[fracture.kind](rng, hand, size)
    tilted = np.asarray(plane.normal) + rng.uniform(-0.15, 0.15, 3)
    tilted /= np.linalg.norm(tilted)
    direction = np.asarray(plane.along) - (np.asarray(plane.along) @ tilted) * tilted
    direction *= grade.displacement_mm / np.linalg.norm(direction)
    normal, shift = _vector(tilted), _vector(direction)
    return Break(plane.through, normal, shift, plane.low, plane.high, float(grade.width_mm), float(grade.contrast_hu))


@dataclass(frozen=True)
class _Plane:
    """A point, the normal, the direction of the shift, and the corners of what is broken (default: everything)."""

    through: Vector
    normal: Vector
    along: Vector
    low: Vector = (-_EVERYWHERE, -_EVERYWHERE, -_EVERYWHERE)
    high: Vector = (_EVERYWHERE, _EVERYWHERE, _EVERYWHERE)


def _ring(rng: np.random.Generator, hand: float, size: VertebraSize) -> _Plane:
    """Both arches of C1, beside the midline."""
    place = hand * rng.uniform(0.35, 0.53) * size.wide
    return _Plane((place, 0.0, 0.0), (hand, 0.0, 0.0), (0.0, -1.0, 0.3 * hand))


def _dens(rng: np.random.Generator, hand: float, size: VertebraSize) -> _Plane:
    """The base of the dens, without the joints beside it."""
    height = DENS_BASE * size.tall + rng.uniform(0.5, 4.0)
    corners = ((-9.0, -10.0, -_EVERYWHERE), (9.0, 9.0, _EVERYWHERE))
    return _Plane((0.0, 0.0, height), (0.0, 0.0, 1.0), (0.0, hand, 0.0), *corners)


def _body_sagittal(rng: np.random.Generator, hand: float, size: VertebraSize) -> _Plane:
    place = rng.uniform(-0.25, 0.25) * size.wide
    return _Plane((place, 0.0, 0.0), (hand, 0.0, 0.0), (0.0, hand, 0.4))


def _body_coronal(rng: np.random.Generator, hand: float, size: VertebraSize) -> _Plane:
    place = rng.uniform(-0.35, 0.15) * size.deep
    return _Plane((0.0, place, 0.0), (0.0, -1.0, 0.0), (0.4 * hand, 0.0, -1.0))


def _body_transverse(rng: np.random.Generator, hand: float, size: VertebraSize) -> _Plane:
    place = rng.uniform(-0.3, 0.3) * size.tall
    return _Plane((0.0, 0.0, place), (0.0, 0.0, 1.0), (0.3 * hand, -1.0, 0.0))


def _lamina(rng: np.random.Generator, hand: float, size: VertebraSize) -> _Plane:
    through = (hand * rng.uniform(5.0, 9.0), size.deep + 17.5, 0.0)
    low = (-_EVERYWHERE, size.deep + 6.0, -_EVERYWHERE)
    return _Plane(through, (hand, 0.0, 0.0), (0.0, 1.0, 0.3), low)


def _spinous(rng: np.random.Generator, hand: float, size: VertebraSize) -> _Plane:
    back = size.deep + 17.5
    place = back + size.spinous * rng.uniform(0.3, 0.6)
    return _Plane((0.0, place, 0.0), (0.0, 1.0, 0.2), (0.2 * hand, 0.0, -1.0), (-_EVERYWHERE, back, -_EVERYWHERE))


_PLANES: dict[str, Callable[[np.random.Generator, float, VertebraSize], _Plane]] = {
    "ring": _ring,
    "dens": _dens,
    "body_sagittal": _body_sagittal,
    "body_coronal": _body_coronal,
    "body_transverse": _body_transverse,
    "lamina": _lamina,
    "spinous": _spinous,
}


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
