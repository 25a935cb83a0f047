"""Everything but bone: skin, fat, muscles, airway, vessels, cord. Stacks of ellipses that follow the spine.

A tube is a list of stations. A station hangs on a level's frame at an offset (mm, for an average patient: x to the
left, y backwards, z upwards) and has two half axes. Between stations all is interpolated along world z. Sections stay
parallel to the slices, which is good enough for soft tissue and makes them cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spine_models.data.phantom.anatomy import Matrix, Patient
from spine_models.data.phantom.canvas import Slab, Window
from spine_models.data.phantom.shapes import Field, ellipse, ellipsoid

Station = tuple[str, float, float, float, float, float]
"""Level, offsets x, y, z, half width, half depth."""

SKIN_MM = 1.8
TAPER_MM = 14.0
SKIN_HU, FAT_HU, INNER_HU, MUSCLE_HU, BLOOD_HU, AIRWAY_HU = 0.0, -100.0, -65.0, 58.0, 42.0, -990.0


@dataclass(frozen=True)
class Tube:
    """A soft structure.

    Attributes:
        hu: its attenuation.
        stations: from superior to inferior.
        paired: whether there is one on either side.
        rim_mm: thickness of the layer around it.
        rim_hu: attenuation of that layer.
        contrast_hu: attenuation where the vessels hold contrast medium, if another.
        tapered: whether its ends are round.
    """

    hu: float
    stations: tuple[Station, ...]
    paired: bool = False
    rim_mm: float = 0.0
    rim_hu: float = FAT_HU
    contrast_hu: float | None = None
    tapered: bool = False


OUTLINE: tuple[Station, ...] = (
    ("C0", 0, 5, 70, 78, 98),
    ("C0", 0, 4, 25, 76, 94),
    ("C1", 0, 0, 0, 70, 84),
    ("C2", 0, -2, 0, 65, 77),
    ("C3", 0, 0, 0, 60, 71),
    ("C4", 0, 1, 0, 58, 66),
    ("C5", 0, 1, 0, 58, 66),
    ("C6", 0, 3, 0, 62, 66),
    ("C7", 0, 5, 0, 76, 66),
    ("T1", 0, 3, 0, 115, 68),
    ("T2", 0, 0, 0, 165, 74),
    ("T3", 0, -2, -40, 185, 90),
)


def _muscle(*stations: Station, paired: bool = True, hu: float = MUSCLE_HU) -> Tube:
    return Tube(hu, stations, paired, rim_mm=0.9, tapered=True)


def _plain(hu: float, *stations: Station) -> Tube:
    return Tube(hu, stations)


def _vessel(contrast_hu: float, *stations: Station) -> Tube:
    return Tube(BLOOD_HU, stations, paired=True, rim_mm=0.9, contrast_hu=contrast_hu)


TUBES: tuple[Tube, ...] = (
    # Front: tongue and floor of the mouth, pterygoid muscles, glands, strap muscles, sternocleidomastoid.
    _muscle(("C1", 0, -58, 26, 25, 24), ("C2", 0, -57, 0, 27, 27), ("C3", 0, -54, -4, 22, 18), paired=False, hu=55),
    _muscle(("C0", 33, -38, 34, 13, 16), ("C1", 35, -40, 0, 9, 15), ("C2", 36, -42, -6, 7, 12)),
    _muscle(("C0", 58, -34, 30, 6, 17), ("C2", 55, -40, 0, 6, 17)),
    _muscle(("C0", 52, -4, 22, 9, 9), ("C1", 50, -8, 0, 11, 13), ("C2", 47, -14, -4, 9, 11), hu=5),
    _muscle(("C2", 30, -38, -4, 11, 12), ("C3", 28, -40, -6, 10, 11), hu=45),
    _muscle(("C3", 9, -50, 0, 10, 4.5), ("C6", 13, -47, 0, 12, 5), ("T1", 13, -47, 0, 13, 5)),
    _muscle(
        ("C0", 53, 22, 6, 8, 12),
        ("C2", 50, 6, 0, 8, 15),
        ("C4", 45, -13, 0, 8, 16),
        ("C6", 34, -34, 0, 11, 12),
        ("T1", 20, -50, 0, 13, 6),
    ),
    # Around the spine.
    _muscle(("C0", 8, -13, 26, 7, 6), ("C1", 6, -16, 0, 5, 4), ("C4", 8, -12, 0, 7, 4), ("T2", 9, -13, 0, 6, 4)),
    _muscle(("C0", 30, 6, 4, 8, 10), ("C2", 27, 8, -6, 6, 8)),
    _muscle(("C3", 27, -2, 0, 7, 8), ("C5", 29, -3, 0, 9, 11), ("C7", 36, -4, 0, 13, 15), ("T1", 46, -8, 0, 16, 16)),
    _muscle(("C1", 39, 15, -4, 9, 9), ("C3", 35, 19, 0, 9, 13), ("C5", 37, 24, 0, 10, 15), ("T1", 52, 38, 0, 16, 14)),
    _muscle(("C0", 15, 44, 20, 14, 9), ("C1", 16, 40, -6, 12, 8)),
    _muscle(("C2", 13, 32, -4, 12, 8.5), ("C4", 12.5, 31, 0, 11, 9), ("C7", 14, 35, 0, 14, 11),
            ("T2", 16, 33, 0, 16, 12)),
    _muscle(("C0", 22, 60, 24, 21, 16), ("C2", 20, 48, 0, 19, 11), ("C4", 20, 46, 0, 19, 10),
            ("C7", 25, 49, 0, 23, 10)),
    _muscle(("C0", 46, 40, 20, 15, 14), ("C2", 39, 39, 0, 13, 13), ("C5", 38, 43, 0, 13, 11), ("T1", 44, 53, 0, 22, 9)),
    _muscle(("C1", 17, 65, 0, 15, 5), ("C4", 24, 58, 0, 22, 5), ("C7", 40, 58, 0, 38, 6.5), ("T2", 60, 58, 0, 58, 8)),
    # Prevertebral tissue, gullet, thyroid gland.
    _plain(50, ("C1", 0, -16, 10, 16, 5), ("C4", 0, -17, 0, 16, 5), ("C5", 0, -18, 0, 15, 7), ("C6", 0, -19, 0, 13, 8)),
    Tube(45, (("C6", -1, -21, 0, 8, 4.5), ("C7", -3, -20, 0, 8, 5), ("T3", -5, -20, 0, 9, 6)), rim_mm=1.0),
    Tube(105, (("C6", 15, -33, 6, 4, 7), ("C7", 17, -33, 0, 8, 11), ("T1", 16, -33, 4, 5, 7)), True, 1.0, tapered=True),
    # Vessels: carotid and vertebral arteries, jugular vein.
    _vessel(290, ("C0", 25, -14, 10, 3, 3), ("C3", 25, -18, 0, 3.5, 3.5), ("C6", 25, -23, 0, 3.6, 3.6),
            ("T2", 20, -25, 0, 4, 4)),
    _vessel(170, ("C0", 27, -4, 10, 4, 4), ("C3", 32, -13, 0, 6, 5), ("C6", 33, -20, 0, 7, 5.5),
            ("T2", 28, -26, 0, 8, 7)),
    _vessel(280, ("C2", 13.2, 2, -4, 1.8, 1.8), ("C6", 14, 2.2, 0, 1.8, 1.8), ("T1", 20, -10, 0, 2.2, 2.2)),
    # Airway from the nose's back to the windpipe, with its wall.
    Tube(
        AIRWAY_HU,
        (
            ("C0", 0, -34, 34, 14, 13),
            ("C1", 0, -29, 0, 13, 7.5),
            ("C2", 0, -27, 0, 11, 6),
            ("C3", 0, -29, 0, 13, 7.5),
            ("C4", 0, -33, 0, 10, 9),
            ("C5", 0, -38, 0, 3.5, 10),
            ("C6", 0, -39, 2, 7.5, 9),
            ("C7", 0, -36, 0, 8.5, 8.5),
            ("T3", 0, -34, 0, 9.5, 9.0),
        ),
        rim_mm=2.4,
        rim_hu=70,
    ),
    # Canal: fat around the sac, fluid, cord.
    _plain(-30, ("C0", 0, 16, 18, 15, 16), ("C1", 0, 15, 0, 14, 13), ("C2", 0, 14, 0, 12, 8.5),
           ("T3", 0, 14.5, 0, 11.5, 8)),
    _plain(12, ("C0", 0, 15, 20, 13, 13), ("C1", 0, 14.5, 0, 11, 9.5), ("C2", 0, 13.4, 0, 10.2, 6.6),
           ("T3", 0, 14, 0, 9, 6)),
    _plain(44, ("C0", 0, 11, 22, 8, 8), ("C1", 0, 13.5, 0, 6, 5), ("C5", 0, 13, 0, 6.8, 4), ("T3", 0, 13.5, 0, 5, 3.9)),
)  # fmt: skip


def paint_soft_tissue(slab: Slab, patient: Patient) -> None:
    """Paint skin, fat and all tubes into a slab of air."""
    inner = _paint_outline(slab, patient)
    for tube in TUBES:
        for side in (1.0, -1.0) if tube.paired else (1.0,):
            _paint_tube(slab, patient, tube, side, inner)


def paint_lungs(slab: Slab, patient: Patient) -> None:
    """Paint the tips of the lungs beside the upper thoracic levels."""
    frame = patient.frames["T2"]
    for side in (1.0, -1.0):
        low = (side * 45.0 - 38.0, -50.0, -70.0)
        window = slab.window_of(frame, low, (side * 45.0 + 38.0, 40.0, 30.0))
        if window is not None:
            point = slab.local(frame, window)
            slab.paint(window, ellipsoid(point, (side * 44.0, -6.0, -18.0), (29.0, 38.0, 38.0)), -860.0)


def _paint_outline(slab: Slab, patient: Patient) -> Field:
    """Paint skin, fat and the ground of everything inside; return the distance to the inner side of the fat (mm)."""
    course = _course(slab, patient, OUTLINE, 1.0)
    thicker = np.array([0.0, 0.0, patient.fat_mm / 2, patient.fat_mm / 2])[:, None]
    course = course * np.array([1.0, 1.0, patient.girth, max(1.0, patient.girth)])[:, None] + thicker
    window = (slice(0, len(slab.zs)), slice(0, len(slab.ys)), slice(0, len(slab.xs)))
    distance = _section(slab, window, course)
    slab.paint(window, distance, SKIN_HU)
    slab.paint(window, distance + np.float32(SKIN_MM), FAT_HU)
    inner: Field = distance + np.float32(SKIN_MM + patient.fat_mm)
    slab.paint(window, inner, INNER_HU)
    return inner


def _paint_tube(slab: Slab, patient: Patient, tube: Tube, side: float, inner: Field) -> None:
    course = _course(slab, patient, tube.stations, side)
    window = _window(slab, patient, tube, course)
    if window is None:
        return
    if tube.tapered:
        course[2:] *= _taper(slab, patient, tube)
    distance = np.maximum(_section(slab, window, course), inner[window])
    if tube.rim_mm:
        slab.paint(window, distance - np.float32(tube.rim_mm), tube.rim_hu)
    blood = tube.contrast_hu if patient.contrast else None
    slab.paint(window, distance, tube.hu if blood is None else blood)


def _stations(patient: Patient, stations: tuple[Station, ...], side: float) -> Matrix:
    """Return rows (z, x, y, half width, half depth) in world coordinates, z rising."""
    rows = []
    for level, x, y, z, wide, deep in stations:
        place = patient.frames[level].world((side * x * patient.scale, y * patient.scale, z * patient.scale))
        rows.append((place[2], place[0], place[1], wide * patient.scale, deep * patient.scale))
    return np.array(sorted(rows))


def _course(slab: Slab, patient: Patient, stations: tuple[Station, ...], side: float) -> Matrix:
    """Return x, y, half width and half depth (rows) of a tube in each slice of the slab (columns)."""
    table = _stations(patient, stations, side)
    return np.stack([np.interp(slab.zs, table[:, 0], table[:, column]) for column in (1, 2, 3, 4)])


def _window(slab: Slab, patient: Patient, tube: Tube, course: Matrix) -> Window | None:
    heights = _stations(patient, tube.stations, 1.0)[:, 0]
    x, y, wide, deep = course
    margin = tube.rim_mm + slab.voxel
    low = np.array([(x - wide).min() - margin, (y - deep).min() - margin, heights[0]])
    high = np.array([(x + wide).max() + margin, (y + deep).max() + margin, heights[-1]])
    return slab.window(low, high)


def _taper(slab: Slab, patient: Patient, tube: Tube) -> Matrix:
    """Return the factor of a tube's half axes in each slice: a quarter of an ellipse at either end."""
    heights = _stations(patient, tube.stations, 1.0)[:, 0]
    inward = np.minimum(slab.zs - heights[0], heights[-1] - slab.zs) / TAPER_MM
    factor: Matrix = np.sqrt(np.clip(1.0 - (1.0 - np.clip(inward, 0.0, 1.0)) ** 2, 0.01, 1.0))
    return factor


def _section(slab: Slab, window: Window, course: Matrix) -> Field:
    """Return the distance to a tube's wall in the voxels of a window (mm)."""
    x, y, wide, deep = course[:, window[0], None]
    across = (slab.xs[window[2]] - x).astype(np.float32)[:, None, :]
    along = (slab.ys[window[1]] - y).astype(np.float32)[:, :, None]
    return ellipse(across, along, wide.astype(np.float32)[:, None], deep.astype(np.float32)[:, None])
