"""Skull base, jaw, hyoid, larynx and ribs: the bones around the cervical spine.

Coordinates are those of an average patient (mm) in a level's frame; the skull moves with C1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spine_models.data.phantom.anatomy import Patient
from spine_models.data.phantom.bone import paint_bone
from spine_models.data.phantom.canvas import Slab
from spine_models.data.phantom.shapes import Field, Point, Vector, capsule, ellipse, ellipsoid, mirrored, union, without

BRAIN_HU = 34.0
SHELL_MM = 6.0


@dataclass(frozen=True)
class Part:
    """A bone with the box that holds it.

    Attributes:
        level: level whose frame it hangs on.
        low: lower corner of the box.
        high: upper corner.
        shape: distance to its surface (mm) for local points.
        density: attenuation relative to vertebrae.
    """

    level: str
    low: Vector
    high: Vector
    shape: Callable[[Point], Field]
    density: float


def paint_brain(slab: Slab, patient: Patient) -> None:
    """Paint what is inside the skull, to be done before the bones."""
    found = slab.local_window(patient.frames["C0"], (-82.0, -95.0, 8.0), (82.0, 115.0, 75.0), patient.scale)
    if found is not None:
        window, point = found
        slab.paint(window, (_vault(point) + np.float32(SHELL_MM / 2)) * np.float32(patient.scale), BRAIN_HU)


def paint_parts(slab: Slab, patient: Patient) -> None:
    """Paint all bones of this module."""
    for part in PARTS:
        found = slab.local_window(patient.frames[part.level], part.low, part.high, patient.scale)
        if found is not None:
            window, point = found
            paint_bone(slab, window, part.shape(point) * np.float32(patient.scale), patient, part.density)


def _vault(point: Point) -> Field:
    return ellipsoid(point, (0.0, 20.0, 79.0), (72.0, 88.0, 66.0))


def _shell(point: Point) -> Field:
    """Return the bony wall of the skull with the foramen magnum in it; thicker at the back, in the midline."""
    crest = np.clip(1.0 - np.abs(point[0]) * np.float32(1 / 14.0), 0, 1) * np.clip(
        (point[1] - np.float32(38.0)) * np.float32(1 / 20.0), 0, 1
    )
    wall = np.abs(_vault(point)) - np.float32(SHELL_MM / 2) - np.float32(2.5) * crest
    return without(wall, ellipse(point[0], point[1] - np.float32(17.0), 15.0, 17.0))


def _base(point: Point) -> Field:
    """Return clivus, condyles, petrous bones and what joins them, with the wall that they grow from."""
    folded = mirrored(point)
    narrowed = (folded[0] * np.float32(0.5), folded[1], folded[2])
    clivus = capsule(narrowed, (0.0, -1.0, 17.0), (0.0, -25.0, 48.0), 4.5, 6.5)
    condyle = ellipsoid(folded, (16.5, 3.0, 12.5), (5.8, 10.5, 5.5))
    bridge = capsule(folded, (17.0, 4.0, 16.0), (24.0, 12.0, 22.0), 5.0)
    petrous = capsule(folded, (16.0, -14.0, 33.0), (56.0, 8.0, 30.0), 7.0, 9.0)
    shape = union(union(clivus, condyle, 3.0), union(bridge, petrous, 3.0), 3.0)
    return union(_shell(point), shape, 3.0)


def _thin_processes(point: Point) -> Field:
    folded = mirrored(point)
    styloid = capsule(folded, (33.0, -6.0, 18.0), (27.0, -20.0, -12.0), 1.9, 1.2)
    pterygoid = capsule(folded, (13.0, -36.0, 34.0), (15.0, -38.0, 6.0), 1.6)
    both: Field = np.minimum(styloid, pterygoid)
    return both


def _mastoid(point: Point) -> Field:
    """Return the mastoid processes, riddled with cells."""
    folded = mirrored(point)
    hull = ellipsoid(folded, (51.0, 12.0, 13.0), (9.0, 12.0, 18.0))
    waves = np.sin(folded[0] * np.float32(1.3)) * np.sin(folded[1] * np.float32(1.2)) * np.sin(point[2])
    walls = np.minimum(np.float32(1.6) * waves + np.float32(0.4), -hull - np.float32(2.0))
    riddled: Field = np.maximum(hull, walls)
    return riddled


def _jaw(point: Point) -> Field:
    folded = mirrored(point)
    flattened = (folded[0], folded[1] * np.float32(0.35), folded[2])
    ramus = capsule(flattened, (49.0, -8.0, 24.0), (46.0, -11.0, -24.0), 3.6)
    return union(ramus, capsule(folded, (45.0, -38.0, -28.0), (12.0, -82.0, -36.0), 5.0, 6.0, tall=1.8), 4.0)


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


PARTS: tuple[Part, ...] = (
    Part("C0", (-82.0, -95.0, 8.0), (82.0, 115.0, 75.0), _shell, 1.0),
    Part("C0", (-68.0, -36.0, 3.0), (68.0, 26.0, 60.0), _base, 1.0),
    Part("C0", (-62.0, -4.0, -8.0), (62.0, 27.0, 34.0), _mastoid, 1.0),
    Part("C0", (-36.0, -41.0, -15.0), (36.0, -2.0, 38.0), _thin_processes, 1.0),
    Part("C0", (-56.0, -90.0, -44.0), (56.0, -8.0, 30.0), _jaw, 1.2),
    Part("C3", (-26.0, -58.0, -22.0), (26.0, -22.0, -4.0), _hyoid, 0.6),
    Part("C5", (-24.0, -60.0, -11.0), (24.0, -24.0, 18.0), _thyroid_cartilage, 0.2),
    *(Part(level, (-76.0, -46.0, -36.0), (76.0, 28.0, 12.0), _rib, 1.0) for level in ("T1", "T2", "T3")),
)
