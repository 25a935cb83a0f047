"""The shape of each level in its own frame (mm): x to the left, y backwards, z upwards, origin in the body's centre.

The origin of C1 is in the centre of its ring's front part, where the dens stands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spine_models.data.phantom.anatomy import ALL_LEVELS, VertebraSize
from spine_models.data.phantom.shapes import Field, Point, Vector, box, capsule, ellipse, ellipsoid, mirrored, without
from spine_models.data.phantom.shapes import union as join

FACET_SLOPE = 0.85
"""How much the facet joints of C3-C7 fall for each mm backwards (about 40 degrees)."""

DENS_BASE = 0.95
"""Height of the base of the dens over the centre of C2, in half heights of the body."""


def vertebra(level: str, size: VertebraSize, point: Point) -> Field:
    """Return the distance to the surface of a level (mm).

    Args:
        level: one of ``ALL_LEVELS``.
        size: its sizes.
        point: local coordinates.
    """
    if level == "C1":
        return _atlas(size, point)
    if level == "C2":
        return _axis(size, point)
    return _typical(size, point, thoracic=level.startswith("T"))


def vertebra_reach(level: str, size: VertebraSize) -> tuple[Vector, Vector]:
    """Return the corners of a local box that holds the level (mm)."""
    side = size.transverse + 5.0
    if level == "C1":
        scale = size.wide / 17.0
        return (-side, -17.0 * scale, -16.0 * scale), (side, 38.0 * scale, 16.0 * scale)
    back = size.deep + 23.0 + size.spinous
    drop = size.tall + size.spinous * size.spinous_drop + 8.0
    front = size.deep + 6.0
    top = size.tall + (26.0 if level == "C2" else 12.0)
    return (-side, -front, -max(drop, size.pitch * 0.5 + 10.0)), (side, back, top)


def may_hold(level: str, size: VertebraSize, point: Point) -> NDArray[np.bool_]:
    """Return where a level may be: not beside its spinous process, its dens or the front of its ring."""
    x, y, z = np.abs(point[0]), point[1], point[2]
    if level == "C1":
        scale = np.float32(size.wide / 17.0)
        held: NDArray[np.bool_] = (x < 27.0 * scale) | (np.abs(y - 5.0 * scale) < 11.0 * scale)
        return held
    held = (y < size.deep + 22.0) | (x < 10.0)
    held &= (x < 10.0) | (z < size.tall + 11.0)
    held &= (z > -(size.pitch * 0.5 + 10.0)) | (y > size.deep + 14.0)
    return held


def disc_below(upper: VertebraSize, lower: VertebraSize, point: Point) -> Field:
    """Return the distance to the disc between two levels, in the upper one's frame (mm); it overlaps the endplates."""
    middle = -(upper.tall + (upper.pitch - lower.tall)) / 2
    wide, deep = (upper.wide + lower.wide) / 2, (upper.deep + lower.deep) / 2
    sheet = np.abs(point[2] - np.float32(middle)) - np.float32((upper.pitch - upper.tall - lower.tall) / 2 + 2.0)
    disc: Field = np.maximum(ellipse(point[0], point[1], wide + 0.5, deep + 0.5), sheet)
    return disc


def _typical(size: VertebraSize, point: Point, thoracic: bool) -> Field:
    """C3-C7 and the upper thoracic levels."""
    folded = mirrored(point)
    shape = _body(size, folded, uncinate=0.0 if thoracic else 2.6)
    rear = _arch(size, folded)
    rear = join(rear, _transverse_processes(size, folded, thoracic), 1.5)
    rear = without(rear, _canal(size, point))
    return join(shape, join(rear, _spinous_process(size, folded, bifid=not thoracic and size.spinous < 25), 2.0), 1.5)


def _body(size: VertebraSize, folded: Point, uncinate: float) -> Field:
    """Waisted cylinder with a flat back, hollow endplates and, in the neck, raised upper side edges."""
    x, y, z = folded
    waist = 1.0 - 0.09 * (1.0 - np.clip((z / np.float32(size.tall)) ** 2, 0, 1))
    wall = ellipse(x, y, np.float32(size.wide) * waist, np.float32(size.deep) * waist)
    wall = np.maximum(wall, y - np.float32(0.82 * size.deep))
    edge = np.clip((x / np.float32(size.wide)) ** 2 + (y / np.float32(size.deep)) ** 2, 0, 1)
    rim = np.clip(x / np.float32(size.wide), 0, 1.1) ** 4
    upper = z - np.float32(size.tall) + 0.9 * (1 - edge) - np.float32(uncinate) * rim
    lower = (
        -z
        - np.float32(size.tall)
        + 1.1 * (1 - edge)
        - np.float32(0.12 * size.deep) * np.clip(-y / np.float32(size.deep), 0, 1)
    )
    body: Field = np.maximum(wall, np.maximum(upper, lower))
    return body


def _arch(size: VertebraSize, folded: Point) -> Field:
    """Pedicles, articular pillars with inclined facets, laminae."""
    x, y, z = folded
    wide, deep = size.wide, size.deep
    pedicle = capsule(folded, (0.75 * wide, 0.55 * deep, 1.0), (wide + 5.5, deep + 3.0, 0.5), 2.7, tall=1.25)
    centre = (wide + 7.0, deep + 4.5)
    sheared = (x, y, z + np.float32(FACET_SLOPE) * (y - np.float32(centre[1])))
    pillar = box(sheared, (centre[0], centre[1], 0.0), (5.4, 5.8, 0.5 * size.pitch - 0.9), 3.2)
    lamina = capsule(
        folded, (wide + 6.0, deep + 8.5, -1.0), (1.0, deep + 17.5, -3.5), 2.3, tall=min(2.4, 0.32 * size.tall)
    )
    return join(join(pedicle, pillar), lamina, 2.0)


def _transverse_processes(size: VertebraSize, folded: Point, thoracic: bool) -> Field:
    """In the neck two bars with the artery's hole between them; in the chest one strong process."""
    wide, deep, reach = size.wide, size.deep, size.transverse
    if thoracic:
        return capsule(folded, (wide + 3.0, deep + 7.0, 1.0), (reach, deep + 12.0, 3.5), 4.2, 3.4)
    front = capsule(folded, (0.75 * wide, -0.25 * deep, 1.0), (reach - 5.5, -0.45 * deep, -2.0), 1.9)
    rear = capsule(folded, (wide + 6.0, deep + 2.5, 0.0), (reach - 2.0, 0.4 * deep, -3.0), 2.3)
    tip = capsule(folded, (reach - 5.5, -0.45 * deep, -2.0), (reach - 2.0, 0.4 * deep, -3.0), 1.9)
    hole = ellipse(folded[0] - np.float32(wide + 4.2), folded[1] - np.float32(0.28 * deep), 2.7, 2.7)
    return without(join(join(front, rear), tip), hole)


def _canal(size: VertebraSize, point: Point) -> Field:
    """The vertebral canal: wider than deep."""
    return ellipse(point[0], point[1] - np.float32(0.82 * size.deep + 7.6), 11.8, 7.6)


def _spinous_process(size: VertebraSize, folded: Point, bifid: bool) -> Field:
    """A rod that falls backwards, forked at its tip at most levels of the neck."""
    root = size.deep + 18.0
    end = root + size.spinous
    drop = -3.5 - size.spinous * size.spinous_drop
    rod = capsule(folded, (0.0, root - 1.0, -3.5), (0.0, end, drop), 2.6, 2.4 if bifid else 3.3, tall=1.7)
    if not bifid:
        return rod
    fork = capsule(folded, (0.0, end - 4.0, drop + 2.0), (4.2, end + 2.0, drop - 1.0), 2.0, 2.3)
    return join(rod, fork)


def _axis(size: VertebraSize, point: Point) -> Field:
    """C2: body, dens, shoulders for C1, inferior pillars, broad laminae and a strong forked process."""
    folded = mirrored(point)
    x, y, z = folded
    wide, deep = size.wide, size.deep
    base = DENS_BASE * size.tall
    body = _body(size, folded, uncinate=0.0)
    dens = capsule(folded, (0.0, -0.5, base - 3.0), (0.0, 0.5, base + 15.0), 5.2, 4.6)
    shoulder = capsule(folded, (5.0, 0.0, 4.0), (wide + 8.0, 1.5, 3.0), 4.8, 4.2, tall=1.2)
    shoulder = join(shoulder, ellipsoid(folded, (wide + 5.5, 2.0, 5.5), (7.2, 8.8, 5.0)), 2.0)
    centre = (wide + 7.0, deep + 4.0)
    sheared = (x, y, z + 5.0 + np.float32(FACET_SLOPE) * (y - np.float32(centre[1])))
    pillar = box(sheared, (centre[0], centre[1], 0.0), (5.2, 5.6, 5.2), 3.0)
    pars = capsule(folded, (wide + 6.0, 3.0, 2.0), (wide + 7.0, deep + 3.0, -4.0), 3.9)
    lamina = capsule(folded, (wide + 6.0, deep + 8.0, -3.0), (1.0, deep + 17.5, -2.5), 2.7, tall=2.3)
    process = capsule(folded, (wide + 7.0, 2.0, -1.0), (size.transverse - 3.0, 5.0, -3.0), 3.0, 2.4)
    rear = join(join(pillar, pars, 2.5), join(lamina, process), 2.0)
    rear = without(join(rear, shoulder, 2.0), _canal(size, point))
    return join(join(join(body, dens, 2.5), rear, 2.0), _spinous_process(size, folded, bifid=True), 2.0)


def _atlas(size: VertebraSize, point: Point) -> Field:
    """C1: a ring of two arches between lateral masses, with long transverse processes."""
    scale = size.wide / 17.0
    folded = mirrored(point)
    x, y, z = (coordinate * np.float32(1 / scale) for coordinate in folded)
    unit = (x, y, z)
    ring = ellipse(x, y - np.float32(9.5), 20.0, 20.5)
    front = np.clip((np.float32(9.5) - y) * np.float32(1 / 12.0), 0, 1)
    height = np.float32(3.6) + np.float32(1.6) * front
    arches = np.sqrt((ring / np.float32(2.9)) ** 2 + ((z + 1.0) / height) ** 2)
    ring_rod: Field = (arches - 1) * np.float32(2.9)
    mass = ellipsoid(unit, (17.0, 2.5, 0.0), (6.6, 9.5, 9.8))
    process = capsule(unit, (19.0, 3.0, -2.0), (size.transverse / scale - 3.0, 5.5, -3.0), 4.0, 3.4)
    hole = ellipse(x - np.float32(26.0), y - np.float32(4.6), 2.7, 2.7)
    tubercles = join(
        capsule(unit, (0.0, -12.0, -1.0), (0.0, -13.5, -2.0), 2.6),
        capsule(unit, (0.0, 30.0, -1.0), (0.0, 33.0, -2.0), 2.4),
    )
    shape = join(join(ring_rod, mass, 2.5), without(process, hole), 2.0)
    shape = join(shape, tubercles, 2.0)
    # The canal and the seat of the dens stay free.
    shape = without(shape, ellipse(x, y - np.float32(15.5), 13.0, 13.5))
    shape = without(shape, ellipse(x, y, 7.4, 7.2))
    return shape * np.float32(scale)


def label_of(level: str) -> int:
    """Return the voxel label of a level: 1-7 for C1-C7, 8 and above for T1 and below."""
    return ALL_LEVELS.index(level) + 1
