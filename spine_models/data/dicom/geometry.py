r"""Where slices are: their order, the regular grid that they are brought onto, and its exact affine.

Coordinates are DICOM patient millimetres (LPS: x to the left, y to the back, z to the head). A grid's axes are
(z, y, x): z from superior to inferior, y from anterior to posterior, x from the patient's right to the left, as in an
axial slice with the orientation 1\0\0\0\1\0. Slices are turned there only by transposition and flips; tilt and
shear stay in the affine. ``docs/ingest.md`` has the table of what is done in which case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.outliers import drop_sideways

Floats = NDArray[np.float64]

SAME_POSITION_MM = 0.01
"""Slices closer than this along the normal are at the same position (no scanner's step is below 0.1 mm)."""
STEP_TOLERANCE = 0.1
"""Part of a step by which a slice may be off the regular grid and still be taken as it is."""
MAX_GAP_MM = 5.0
"""Gaps up to this, or up to two steps, are bridged by interpolation; a C vertebra is 12 mm tall."""
MAX_SHEAR_DEGREES = 50.0
"""Gantries tilt up to 30 degrees; stacks that say they are sheared more have damaged positions or orientations."""
CURVED = 0.01
"""Difference between direction cosines in a stack from which on it is a curved reformat (half a degree)."""
_FILLED = 0.8
_EXACT_STEP = 0.01  # an irregular stack is interpolated wherever it is further than this part of a step off the grid
_AXIAL = float(np.cos(np.pi / 4))
_UNIT_TOLERANCE = 0.01


@dataclass(frozen=True)
class InPlane:
    """How a decoded (rows, columns) slice becomes (y, x)."""

    transposed: bool
    flip_y: bool
    flip_x: bool

    def apply(self, pixels: NDArray[np.int16]) -> NDArray[np.int16]:
        """Turn one slice: (rows, columns) -> (y, x)."""
        turned = pixels.T if self.transposed else pixels
        return turned[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def undo(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn one slice back: (y, x) -> (rows, columns)."""
        turned = pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return turned.T if self.transposed else turned


@dataclass(frozen=True)
class GridSlice:
    """Where one slice of the grid comes from: the slice ``upper``, or a blend of it and ``lower``.

    Attributes:
        upper: index into the ordered slices.
        lower: likewise; equal to ``upper`` where no blend is needed.
        weight: of ``lower``, 0 to 1.
    """

    upper: int
    lower: int
    weight: float


@dataclass(frozen=True)
class Grid:
    """The regular grid of a study before ``z_step``.

    Attributes:
        headers: the slices, superior first, one a position.
        slices: for each plane of the grid, where it comes from.
        coordinates: (n,) of each slice in planes of the grid; whole numbers where slices are on it.
        shape: (z, y, x).
        affine: 4x4, (z, y, x, 1) to (mm x, y, z, 1), LPS.
        spacing: mm (z along the normal of the slices, y, x).
        tilt_degrees: angle between the slices' normal and the direction in which they follow each other, signed like
            the rotation about the x axis; 0 for a stack that is not sheared.
        oblique_degrees: angle between the slices' normal and the patient's long axis.
        notes: sentences on everything out of the ordinary.
    """

    headers: list[SliceHeader]
    slices: list[GridSlice]
    coordinates: Floats
    in_plane: InPlane
    shape: tuple[int, int, int]
    affine: Floats
    spacing: tuple[float, float, float]
    tilt_degrees: float
    oblique_degrees: float
    notes: list[str]

    @property
    def stored_affine(self) -> Floats:
        """4x4: (plane, row, column, 1) of slices as they are stored, to mm, LPS."""
        _, last_y, last_x = (size - 1 for size in self.shape)
        turn = np.zeros((4, 4))
        turn[0, 0] = turn[3, 3] = 1
        y_from, x_from = (2, 1) if self.in_plane.transposed else (1, 2)
        turn[1, y_from], turn[1, 3] = (-1, last_y) if self.in_plane.flip_y else (1, 0)
        turn[2, x_from], turn[2, 3] = (-1, last_x) if self.in_plane.flip_x else (1, 0)
        stored: Floats = self.affine @ turn
        return stored


def geometry_problem(header: SliceHeader) -> tuple[RefusalCode, str] | None:
    """Say why a slice cannot be placed, None if it can."""
    if header.position is None or header.orientation is None:
        return RefusalCode.GEOMETRY_MISSING, "no readable ImagePositionPatient or ImageOrientationPatient"
    if header.spacing is None or min(header.spacing) <= 0:
        return RefusalCode.SPACING_INVALID, "PixelSpacing is missing, zero or not a number"
    if not 0.01 <= min(header.spacing) <= max(header.spacing) <= 10.0:
        return RefusalCode.SPACING_INVALID, "PixelSpacing is outside 0.01 to 10 mm"
    row, column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > _UNIT_TOLERANCE or abs(row @ column) > _UNIT_TOLERANCE:
        return RefusalCode.GEOMETRY_INVALID, "ImageOrientationPatient is not a pair of perpendicular unit vectors"
    if max(abs(value) for value in header.position) > 1e5:
        return RefusalCode.GEOMETRY_INVALID, "ImagePositionPatient lies further out than 100 m"
    return None


def directions(headers: Sequence[SliceHeader]) -> tuple[Floats, Floats, Floats]:
    """Return the mean directions along a row, along a column, and of the normal (towards the head), unit vectors."""
    both = np.array([header.orientation for header in headers], dtype=np.float64).mean(axis=0)
    row = both[:3] / np.linalg.norm(both[:3])
    column = both[3:] - (both[3:] @ row) * row
    column /= np.linalg.norm(column)
    normal = np.cross(row, column)
    return row, column, normal if normal[2] >= 0 else -normal


def is_axial(headers: Sequence[SliceHeader]) -> bool:
    """Say whether the slices' normal is within 45 degrees of the patient's long axis."""
    return bool(directions(headers)[2][2] >= _AXIAL)


def positions(headers: Sequence[SliceHeader]) -> Floats:
    """Return the slices' positions, (n, 3) mm."""
    return np.array([header.position for header in headers], dtype=np.float64).reshape(-1, 3)


def heights(headers: Sequence[SliceHeader]) -> Floats:
    """Return each slice's position along the mean normal, (n,) mm, larger towards the head."""
    heights: Floats = positions(headers) @ directions(headers)[2]
    return heights


def lies_regularly(headers: Sequence[SliceHeader]) -> bool:
    """Say whether the slices are on a regular grid along their normal, of which they fill most."""
    if len(headers) < 3:
        return True
    coordinate = _regular_coordinate(np.sort(heights(headers)))
    return coordinate is not None and len(headers) >= _FILLED * (coordinate[-1] + 1)


def build_grid(headers: Sequence[SliceHeader]) -> Grid:
    """Order the slices of a stack and lay a regular grid through them.

    Args:
        headers: slices of one stack, each at a position of its own, in any order.

    Raises:
        StudyRefused: ``too_few_slices`` for fewer than two, ``slices_missing`` or ``steps_too_wide`` where a gap is too
            wide to bridge, ``geometry_invalid`` where positions jump sideways.
    """
    if len(headers) < 2:
        raise StudyRefused(RefusalCode.TOO_FEW_SLICES, "one slice is not a volume")
    order = np.argsort(-heights(headers), kind="stable")
    ordered = [headers[i] for i in order]
    row, column, normal = directions(ordered)
    points = positions(ordered)
    curved = is_curved(ordered)
    in_line, beside = drop_sideways(ordered, points, _distances(points, normal))
    ordered, points = [ordered[i] for i in in_line], points[in_line]
    if not curved and len(ordered) > 1 and _shear(points, normal) > MAX_SHEAR_DEGREES:
        raise StudyRefused(
            RefusalCode.GEOMETRY_INVALID, "the slices follow each other sideways, not along their normal"
        )
    along = _distances(points, None if curved else normal)
    _require_bridgeable(along, ordered)
    slices, coordinate, notes = _regular_slices(along)
    notes += [beside] if beside else []
    start, step = _line(coordinate, points)
    deviation = float(np.abs(points - start - coordinate[:, None] * step).max())
    spacing = ordered[0].spacing or (0.0, 0.0)
    if curved:
        notes.append("orientation changes from slice to slice (curved reformat): the affine is that of the mean plane")
    if deviation > 0.5 * min(spacing):
        notes.append(f"slice positions leave a straight line by up to {deviation:.2f} mm")
    in_plane, y_vector, x_vector, corner, (rows, columns) = _canonical(ordered[0], row, column)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step, y_vector, x_vector
    affine[:3, 3] = start + corner
    z_spacing = float(np.linalg.norm(step)) if curved else float(abs(step @ normal))
    return Grid(
        headers=ordered,
        slices=slices,
        coordinates=coordinate,
        in_plane=in_plane,
        shape=(len(slices), rows, columns),
        affine=affine,
        spacing=(z_spacing, float(np.linalg.norm(y_vector)), float(np.linalg.norm(x_vector))),
        tilt_degrees=_tilt(step, normal),
        oblique_degrees=float(np.degrees(np.arccos(np.clip(normal[2], -1, 1)))),
        notes=notes,
    )


def is_curved(headers: Sequence[SliceHeader]) -> bool:
    """Say whether the orientation changes from slice to slice (a curved reformat)."""
    both = np.array([header.orientation for header in headers], dtype=np.float64)
    return bool(np.abs(both - both[0]).max() > CURVED)


def _shear(points: Floats, normal: Floats) -> float:
    """Angle between the way from the first slice to the last and the normal, degrees."""
    way = points[0] - points[-1]
    return float(np.degrees(np.arccos(np.clip(way @ normal / max(np.linalg.norm(way), 1e-9), -1, 1))))


def _distances(points: Floats, normal: Floats | None) -> Floats:
    """Distance of each slice from the first: along the normal, or along the path of a curved stack."""
    if normal is not None:
        distances: Floats = (points[0] - points) @ normal
        return distances
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def _require_bridgeable(along: Floats, ordered: Sequence[SliceHeader]) -> None:
    """Refuse gaps that are too wide; nothing is called missing where the instance numbers have no gap."""
    steps = np.diff(along)
    step, widest = float(np.median(steps)), float(steps.max())
    if step < SAME_POSITION_MM:
        raise StudyRefused(RefusalCode.GEOMETRY_INVALID, "the slices are at the same position")
    if widest <= max(MAX_GAP_MM, (2 + STEP_TOLERANCE) * step):
        return
    wide = int(steps.argmax())
    before, after = ordered[wide].instance, ordered[wide + 1].instance
    if before is not None and after is not None and abs(after - before) == 1:
        raise StudyRefused(
            RefusalCode.STEPS_TOO_WIDE,
            f"steps of up to {widest:.1f} mm in a stack with steps of {step:.2f} mm, and the instance numbers have no "
            "gap there: the scan was planned so; export a series with even, thinner steps",
        )
    raise StudyRefused(
        RefusalCode.SLICES_MISSING,
        f"a gap of {widest:.1f} mm between slices that are {step:.2f} mm apart: find the missing files",
    )


def _regular_slices(along: Floats) -> tuple[list[GridSlice], Floats, list[str]]:
    """Return the planes of the regular grid, the slices' coordinates in steps of it, and notes."""
    steps = np.diff(along)
    step, widest = float(np.median(steps)), float(steps.max())
    coordinate = _regular_coordinate(along)
    if coordinate is not None:
        empty = int(coordinate[-1]) + 1 - len(along)
        notes = [f"{empty} planes without a slice of their own interpolated between their neighbours"] if empty else []
        return _blend(coordinate, STEP_TOLERANCE), coordinate, notes
    coordinate = along / step
    note = f"irregular steps ({steps.min():.3f} to {widest:.3f} mm): interpolated to steps of {step:.3f} mm"
    return _blend(coordinate, _EXACT_STEP), coordinate, [note]


def _regular_coordinate(along: Floats) -> Floats | None:
    """Return each slice's whole number of steps from the first, None if the slices are not on a regular grid."""
    steps = np.diff(along)
    step = float(np.median(steps))
    if step <= 0:
        return None
    coordinate = np.concatenate([[0.0], np.cumsum(np.maximum(np.rint(steps / step), 1))])
    start, fitted = _line(coordinate, along)
    deviation = float(np.abs(along - start - coordinate * fitted).max())
    return coordinate if deviation <= STEP_TOLERANCE * step else None


def _blend(coordinate: Floats, tolerance: float) -> list[GridSlice]:
    """For each whole number up to the last coordinate: the slice there, or its two neighbours and a weight."""
    planes = []
    for target in np.arange(int(np.floor(coordinate[-1] + tolerance)) + 1, dtype=np.float64):
        nearest = int(np.abs(coordinate - target).argmin())
        if abs(coordinate[nearest] - target) <= tolerance:
            planes.append(GridSlice(nearest, nearest, 0.0))
            continue
        lower = int(np.searchsorted(coordinate, target))
        upper = lower - 1
        weight = (target - coordinate[upper]) / (coordinate[lower] - coordinate[upper])
        planes.append(GridSlice(upper, lower, float(weight)))
    return planes


def _line(coordinate: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Least-squares line through points (n,) or (n, 3): the point at coordinate 0 and the vector of one step."""
    mean = coordinate.mean()
    offset = coordinate - mean
    step: Floats = offset @ (points - points.mean(axis=0)) / (offset @ offset)
    return points.mean(axis=0) - mean * step, step


def _canonical(
    header: SliceHeader, row: Floats, column: Floats
) -> tuple[InPlane, Floats, Floats, Floats, tuple[int, int]]:
    """Return the turn of a slice, its y and x vectors (mm a pixel), the shift of its corner, and (y, x) sizes."""
    between_rows, between_columns = header.spacing or (0.0, 0.0)
    y_vector, x_vector = column * between_rows, row * between_columns
    sizes = (header.rows, header.columns)
    transposed = abs(row[1]) > abs(row[0])
    if transposed:
        y_vector, x_vector = x_vector, y_vector
        sizes = (header.columns, header.rows)
    corner = np.zeros(3)
    flip_y, flip_x = bool(y_vector[1] < 0), bool(x_vector[0] < 0)
    if flip_y:
        corner = corner + (sizes[0] - 1) * y_vector
        y_vector = -y_vector
    if flip_x:
        corner = corner + (sizes[1] - 1) * x_vector
        x_vector = -x_vector
    return InPlane(transposed, flip_y, flip_x), y_vector, x_vector, corner, sizes


def _tilt(step: Floats, normal: Floats) -> float:
    """Angle of the shear in the sagittal plane, degrees; positive when slices shift to the back going down."""
    down = -normal
    direction = step / np.linalg.norm(step)
    angle = float(np.degrees(np.arccos(np.clip(direction @ down, -1, 1))))
    return 0.0 if angle < 0.05 else float(np.copysign(angle, np.cross(down, direction)[0]))
