"""One patient: how large the vertebrae are, how the neck is bent, and where each level's frame is.

Sizes are rounded from textbook morphometry of the adult cervical spine (bodies 15-20 mm wide and deep and 12-15 mm
tall, canal 15 mm deep, pillars inclined by about 45 degrees); they are meant to look right, not to be measured.
World coordinates are DICOM's: x to the patient's left, y backwards, z upwards, in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.shapes import Vector

Matrix = NDArray[np.float64]

ALL_LEVELS: tuple[str, ...] = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2", "T3")
"""Levels that a phantom has; level ``i`` has label ``i + 1`` (8 and above: thoracic, as in the challenge)."""


@dataclass(frozen=True)
class VertebraSize:
    """Half sizes of a body and the reach of the processes (mm).

    Attributes:
        wide: half width of the body.
        deep: half depth of the body.
        tall: half height of the body.
        pitch: distance of the body's centre to that of the next level below.
        spinous: length of the spinous process behind the laminae.
        spinous_drop: how far the spinous process falls (mm for each mm of its length).
        transverse: reach of the transverse process from the midline.
    """

    wide: float
    deep: float
    tall: float
    pitch: float
    spinous: float
    spinous_drop: float
    transverse: float

    def scaled(self, factor: float) -> VertebraSize:
        """Return the sizes of a larger or smaller patient."""
        lengths = (self.wide, self.deep, self.tall, self.pitch, self.spinous)
        wide, deep, tall, pitch, spinous = (factor * value for value in lengths)
        return VertebraSize(wide, deep, tall, pitch, spinous, self.spinous_drop, factor * self.transverse)


ADULT: dict[str, VertebraSize] = {
    "C1": VertebraSize(17.0, 9.0, 8.5, 19.0, 0.0, 0.0, 37.0),
    "C2": VertebraSize(8.6, 7.6, 9.0, 20.0, 17.0, 0.50, 25.0),
    "C3": VertebraSize(8.6, 7.6, 6.9, 18.0, 15.0, 0.85, 23.0),
    "C4": VertebraSize(8.8, 7.7, 6.8, 18.0, 15.0, 0.95, 23.5),
    "C5": VertebraSize(9.2, 7.8, 6.8, 18.0, 17.0, 0.98, 24.5),
    "C6": VertebraSize(9.8, 8.0, 6.9, 18.5, 21.0, 0.92, 26.0),
    "C7": VertebraSize(10.8, 8.3, 7.5, 20.0, 28.0, 0.85, 30.0),
    "T1": VertebraSize(12.5, 8.6, 8.2, 21.5, 29.0, 0.90, 34.0),
    "T2": VertebraSize(12.0, 9.0, 8.8, 22.5, 28.0, 1.00, 31.0),
    "T3": VertebraSize(11.8, 9.4, 9.2, 22.5, 28.0, 1.05, 30.0),
}


@dataclass(frozen=True)
class Frame:
    """Where something is: ``world = origin + axes @ local`` (mm)."""

    origin: Matrix
    axes: Matrix

    def world(self, local: Vector) -> Matrix:
        """Return the world coordinates of a local point."""
        place: Matrix = self.origin + self.axes @ np.asarray(local)
        return place


@dataclass(frozen=True)
class Patient:
    """One anatomy in its pose.

    Attributes:
        sizes: level to its sizes.
        frames: level to its frame; ``C0`` is the skull's, with its origin at the centre of the ring of C1.
        scale: size of the skeleton relative to the adult table.
        girth: width of the neck relative to the skeleton.
        fat_mm: thickness of the fat under the skin.
        bone_hu: spongy bone, cortical bone (HU).
        contrast: whether the vessels hold contrast medium.
    """

    sizes: dict[str, VertebraSize]
    frames: dict[str, Frame]
    scale: float
    girth: float
    fat_mm: float
    bone_hu: tuple[float, float]
    contrast: bool


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient: size, lordosis, rotation of the head, pose on the table, tissue."""
    scale = float(rng.uniform(0.9, 1.1))
    sizes = {level: size.scaled(scale * float(rng.uniform(0.98, 1.02))) for level, size in ADULT.items()}
    inclination = rng.uniform(14, 24)
    lordosis = rng.uniform(6, 34)
    frames = _bent_spine(sizes, inclination, lordosis, rng)
    pose = rotation(rng.uniform(-4, 4), rng.uniform(-3, 3), rng.uniform(-4, 4))
    centre = rng.uniform((-8, -30, -400), (8, 30, 400))
    posed = {level: Frame(centre + pose @ frame.origin, pose @ frame.axes) for level, frame in frames.items()}
    bone = (float(rng.uniform(270, 380)), float(rng.uniform(850, 1150)))
    girth, fat = float(rng.uniform(0.92, 1.12)), float(rng.uniform(2.5, 9.0))
    return Patient(sizes, posed, scale, girth, fat, bone, contrast=bool(rng.random() < 0.4))


def rotation(about_x: float, about_y: float, about_z: float) -> Matrix:
    """Return the rotation by three angles (degrees), first about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = (f(np.deg2rad([about_x, about_y, about_z])) for f in (np.cos, np.sin))
    turn_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    product: Matrix = turn_z @ turn_y @ turn_x
    return product


def _bent_spine(
    sizes: dict[str, VertebraSize], inclination: float, lordosis: float, rng: np.random.Generator
) -> dict[str, Frame]:
    """Chain the levels along a curve in the sagittal plane; the body of C4 is the origin.

    ``inclination`` is the forward lean of C7 (degrees), ``lordosis`` the angle between C7 and C2. The head (C0) nods
    and turns against C2; C1 turns with it and stands with its front arch higher.
    """
    lean = {level: inclination - lordosis * step / 5 for step, level in enumerate(("C7", "C6", "C5", "C4", "C3", "C2"))}
    lean |= {"T1": inclination + 3, "T2": inclination + 4, "T3": inclination + 4, "C0": lean["C2"] + rng.uniform(-5, 5)}
    lean["C1"] = lean["C0"] - rng.uniform(8, 18)
    origins: dict[str, Matrix] = {"C1": np.zeros(3)}
    for upper, lower in pairwise(ALL_LEVELS):
        angle = np.deg2rad(lean["C2"] if upper == "C1" else (lean[upper] + lean[lower]) / 2)
        origins[lower] = origins[upper] - sizes[upper].pitch * np.array([0.0, -np.sin(angle), np.cos(angle)])
    origins["C0"] = origins["C1"]
    head_turn = float(rng.uniform(-8, 8))
    turns = {"C0": head_turn, "C1": head_turn, "C2": head_turn / 4}
    return {
        level: Frame(origin - origins["C4"], rotation(lean[level], 0, turns.get(level, 0.0)))
        for level, origin in origins.items()
    }
