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
SKIN_HU, FAT_HU, INNER_HU, MUSCLE_HU, AIRWAY_HU = 0.0, -100.0, 20.0, 60.0, -990.0


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
    """

    hu: float
    stations: tuple[Station, ...]
    paired: bool = False
    rim_mm: float = 0.0
    rim_hu: float = FAT_HU
    contrast_hu: float | None = None


OUTLINE: tuple[Station, ...] = (
    ("C0", 0, 5, 70, 78, 98),
    ("C0", 0, 4, 25, 76, 94),
    ("C1", 0, 0, 0, 70, 84),
    ("C2", 0, -1, 0, 65, 76),
    ("C3", 0, 3, 0, 60, 68),
    ("C4", 0, 6, 0, 57, 61),
    ("C5", 0, 8, 0, 57, 59),
    ("C6", 0, 9, 0, 61, 60),
    ("C7", 0, 7, 0, 76, 63),
    ("T1", 0, 3, 0, 115, 68),
    ("T2", 0, 0, 0, 165, 74),
    ("T3", 0, -2, -40, 185, 90),
)


def _muscle(*stations: Station, paired: bool = True, hu: float = MUSCLE_HU) -> Tube:
    return Tube(hu, stations, paired, rim_mm=1.3)


TUBES: tuple[Tube, ...] = (
    # Front: tongue and floor of the mouth, glands, strap muscles, sternocleidomastoid.
    _muscle(("C1", 0, -58, 8, 24, 26), ("C2", 0, -56, 0, 24, 26), ("C3", 0, -54, -4, 20, 16), paired=False, hu=55),
    _muscle(("C1", 46, -22, 12, 12, 15), ("C2", 44, -20, -4, 10, 13), hu=15),
    _muscle(("C2", 30, -38, -2, 10, 12), ("C3", 28, -40, -6, 9, 10), hu=45),
    _muscle(("C4", 9, -47, 0, 9, 4), ("C6", 12, -46, 0, 10, 5), ("T1", 12, -46, 0, 11, 5)),
    _muscle(
        ("C0", 50, 14, 10, 7, 10), ("C2", 48, 2, 0, 7, 13), ("C4", 43, -14, 0, 7, 14), ("C6", 32, -34, 0, 9, 11),
        ("T1", 20, -50, 0, 11, 6),
    ),
    # Around the spine.
    _muscle(("C1", 5, -15, 0, 4, 3.5), ("C4", 7, -11.5, 0, 5.5, 3.5), ("C7", 9, -11.5, 0, 6, 4), ("T2", 7, -12, 0, 4, 3)),
    _muscle(("C3", 26, -1, 0, 5, 7), ("C5", 29, -2, 0, 7, 10), ("C7", 36, -4, 0, 10, 13), ("T1", 46, -8, 0, 12, 14)),
    _muscle(("C1", 38, 14, -4, 7, 8), ("C3", 36, 18, 0, 8, 11), ("C5", 38, 24, 0, 8, 13), ("T1", 50, 40, 0, 12, 12)),
    _muscle(("C2", 13, 31, 0, 10, 8), ("C4", 12, 30, 0, 9.5, 8), ("C7", 13, 34, 0, 11, 10), ("T2", 15, 32, 0, 13, 11)),
    _muscle(("C0", 20, 52, 14, 18, 14), ("C2", 19, 47, 0, 17, 9.5), ("C4", 19, 45, 0, 17, 9), ("C7", 24, 47, 0, 20, 9)),
    _muscle(("C0", 44, 34, 8, 12, 11), ("C2", 37, 38, 0, 11, 11), ("C5", 36, 42, 0, 11, 9), ("T1", 40, 52, 0, 18, 8)),
    _muscle(("C1", 16, 63, 0, 13, 4), ("C4", 23, 57, 0, 19, 4), ("C7", 40, 56, 0, 36, 5.5), ("T2", 60, 56, 0, 55, 7)),
    # Prevertebral tissue, gullet, thyroid gland.
    Tube(50, (("C2", 0, -14, 8, 14, 4), ("C4", 0, -16, 0, 15, 4.5), ("C5", 0, -18, 0, 15, 7), ("C6", 0, -19, 0, 13, 8))),
    Tube(45, (("C6", -1, -21, 0, 8, 4.5), ("C7", -3, -20, 0, 8, 5), ("T3", -5, -20, 0, 9, 6)), rim_mm=1.0),
    Tube(105, (("C6", 15, -33, 6, 4, 7), ("C7", 17, -33, 0, 8, 11), ("T1", 16, -33, 4, 5, 7)), True, 1.0),
    # Vessels.
    Tube(42, (("C0", 25, -14, 10, 3, 3), ("C3", 25, -18, 0, 3.5, 3.5), ("C6", 25, -23, 0, 3.6, 3.6), ("T2", 20, -25, 0, 4, 4)), True, 1.2, contrast_hu=290),
    Tube(40, (("C0", 27, -4, 10, 4, 4), ("C3", 32, -13, 0, 6, 5), ("C6", 33, -20, 0, 7, 5.5), ("T2", 28, -26, 0, 8, 7)), True, 1.0, contrast_hu=170),
    Tube(42, (("C2", 15.5, 2, 0, 1.9, 1.9), ("C6", 15, 2, 0, 1.9, 1.9), ("T1", 20, -10, 0, 2.2, 2.2)), True, contrast_hu=280),
    # Airway from the nose's back to the windpipe, with its wall.
    Tube(
        AIRWAY_HU,
        (
            ("C0", 0, -34, 34, 14, 13), ("C1", 0, -29, 0, 13, 7.5), ("C2", 0, -27, 0, 11, 6), ("C3", 0, -29, 0, 13, 7.5),
            ("C4", 0, -33, 0, 10, 9), ("C5", 0, -38, 0, 3.5, 10), ("C6", 0, -39, 2, 7.5, 9), ("C7", 0, -36, 0, 8.5, 8.5),
            ("T3", 0, -34, 0, 9.5, 9.0),
        ),
        rim_mm=2.4, rim_hu=70,
    ),
    # Canal: fat behind, fluid, cord.
    Tube(-10, (("C0", 0, 16, 18, 15, 16), ("C1", 0, 15, 0, 14, 13), ("C2", 0, 14, 0, 12, 8.5), ("T3", 0, 14.5, 0, 11.5, 8))),
    Tube(12, (("C0", 0, 15, 20, 13, 13), ("C1", 0, 14.5, 0, 11, 9.5), ("C2", 0, 13.2, 0, 9.5, 6.2), ("C7", 0, 13.6, 0, 9, 6), ("T3", 0, 14, 0, 8, 5.8))),
    Tube(44, (("C0", 0, 11, 22, 8, 8), ("C1", 0, 13.5, 0, 6, 5), ("C5", 0, 13, 0, 6.8, 4), ("T3", 0, 13.5, 0, 5, 3.9))),
)  # fmt: skip


def paint_soft_tissue(slab: Slab, patient: Patient) -> None:
    """Paint skin, fat and all tubes into a slab of air."""
    _paint_outline(slab, patient)
    for tube in TUBES:
        for side in (1.0, -1.0) if tube.paired else (1.0,):
            _paint_tube(slab, patient, tube, side)


def paint_lungs(slab: Slab, patient: Patient) -> None:
    """Paint the tips of the lungs beside the upper thoracic levels."""
    frame = patient.frames["T2"]
    for side in (1.0, -1.0):
        low = (side * 45.0 - 38.0, -50.0, -70.0)
        window = slab.window_of(frame, low, (side * 45.0 + 38.0, 40.0, 30.0))
        if window is not None:
            point = slab.local(frame, window)
            slab.paint(window, ellipsoid(point, (side * 44.0, -6.0, -18.0), (29.0, 38.0, 38.0)), -860.0)


def _paint_outline(slab: Slab, patient: Patient) -> None:
    x, y, wide, deep = _along(slab, patient, OUTLINE, 1.0)
    factor = patient.girth
    window = (slice(0, len(slab.zs)), slice(0, len(slab.ys)), slice(0, len(slab.xs)))
    distance = _section(slab, window, x, y, factor * wide + patient.fat_mm / 2, factor * deep + patient.fat_mm / 2)
    slab.paint(window, distance, SKIN_HU)
    slab.paint(window, distance + np.float32(SKIN_MM), FAT_HU)
    slab.paint(window, distance + np.float32(SKIN_MM + patient.fat_mm), INNER_HU)


def _paint_tube(slab: Slab, patient: Patient, tube: Tube, side: float) -> None:
    x, y, wide, deep = _along(slab, patient, tube.stations, side)
    window = _tube_window(slab, patient, tube, x, y, wide, deep)
    if window is None:
        return
    rows = window[0]
    distance = _section(slab, window, x[rows], y[rows], wide[rows], deep[rows])
    if tube.rim_mm:
        slab.paint(window, distance - np.float32(tube.rim_mm), tube.rim_hu)
    filled = patient.contrast and tube.contrast_hu is not None
    slab.paint(window, distance, tube.contrast_hu if filled and tube.contrast_hu is not None else tube.hu)


def _stations(patient: Patient, stations: tuple[Station, ...], side: float) -> Matrix:
    """Return rows (z, x, y, half width, half depth) in world coordinates, z rising."""
    rows = []
    for level, x, y, z, wide, deep in stations:
        place = patient.frames[level].world(
            (side * x * patient.scale, y * patient.scale, z * patient.scale),
        )
        rows.append((place[2], place[0], place[1], wide * patient.scale, deep * patient.scale))
    return np.array(sorted(rows))


def _along(
    slab: Slab, patient: Patient, stations: tuple[Station, ...], side: float
) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    table = _stations(patient, stations, side)
    x, y, wide, deep = (np.interp(slab.zs, table[:, 0], table[:, column]) for column in (1, 2, 3, 4))
    return x, y, wide, deep


def _tube_window(
    slab: Slab, patient: Patient, tube: Tube, x: Matrix, y: Matrix, wide: Matrix, deep: Matrix
) -> Window | None:
    heights = _stations(patient, tube.stations, 1.0)[:, 0]
    margin = tube.rim_mm + slab.voxel
    low = np.array([(x - wide).min() - margin, (y - deep).min() - margin, heights[0]])
    high = np.array([(x + wide).max() + margin, (y + deep).max() + margin, heights[-1]])
    return slab.window(low, high)


def _section(slab: Slab, window: Window, x: Matrix, y: Matrix, wide: Matrix, deep: Matrix) -> Field:
    across = (slab.xs[window[2]][None, :] - x[:, None]).astype(np.float32)[:, None, :]
    along = (slab.ys[window[1]][None, :] - y[:, None]).astype(np.float32)[:, :, None]
    return ellipse(across, along, wide.astype(np.float32)[:, None, None], deep.astype(np.float32)[:, None, None])
