"""Label maps on the grid of a volume.

Nearest neighbour throughout; where the label's grid and the volume's agree, that is an exact permutation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.labels.grids import EXACT_VOXELS, grid_difference
from spine_models.data.labels.header import Floats, most_voxels, open_label
from spine_models.data.labels.nifti import LabelMap, LabelSettings
from spine_models.data.volume_facts import VolumeFacts
from spine_models.levels import IGNORE_LABEL, LEVELS
from spine_models.provenance.facts import Facts

TIE_SHIFT = 1e-3
"""Where a half-grid pixel is midway between two full pixels, the one with the smaller index is taken: the sampling
point is shifted by this part of a pixel, in the volume's frame, so that the storage order of the labels does not
matter.
"""
_PARALLEL_VOXELS = 1e-4  # below TIE_SHIFT, above the rounding of affines stored in float32


@dataclass(frozen=True)
class Sampled:
    """Labels on another grid.

    Attributes:
        values: (z, y, x), the label map's own values; 0 outside.
        inside: bool (z, y, x): the label map covers the voxel.
    """

    values: NDArray[np.integer]
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class LabelFacts(Facts):
    """What a label map shows on a study's half grid.

    Attributes:
        levels: voxels of each level.
        notes: sentences on what is unusual.
    """

    levels: dict[str, int]
    notes: tuple[str, ...]


def check_label(path: Path, affine: Floats, shape: tuple[int, int, int], settings: LabelSettings) -> None:
    """Check only a label map's header against the grid of a volume before ``z_step``.

    Args:
        path: the label map.
        affine: of the volume, (z, y, x, 1) to mm, LPS.
        shape: of the volume, (z, y, x).
        settings: see there.

    Raises:
        StudyRefused: as ``open_label`` and ``half_label``.
    """
    slices, rows, columns = shape
    label = open_label(path, settings.label_geometry, most_voxels(rows, columns, slices))
    if settings.label_geometry == "index":
        _require_same_size(label.shape, columns, rows, slices)
        return
    low, high = _box(label.affine_lps, label.shape)
    other_low, other_high = _box(affine, shape)
    if np.any(low > other_high) or np.any(other_low > high):
        raise StudyRefused(RefusalCode.LABEL_GEOMETRY, _no_overlap(label.affine_lps, label.shape, affine, shape))


def onto_grid(label: LabelMap, affine: Floats, shape: tuple[int, int, int]) -> Sampled:
    """Sample a label map at the voxels of another grid, nearest neighbour, values as they are.

    Args:
        label: the label map.
        affine: 4x4 of the grid, (z, y, x, 1) to mm, LPS.
        shape: (z, y, x) of the grid.
    """
    to_label: Floats = np.linalg.inv(label.affine_lps) @ affine
    to_label[:, 3] -= to_label[:, 1:3].sum(axis=1) * TIE_SHIFT
    axes = _separable(to_label, shape)
    values = np.zeros(shape, label.values.dtype)
    inside = np.zeros(shape, np.bool_)
    planes = _separate_planes(label, to_label, shape, axes) if axes else _general_planes(label, to_label, shape)
    for z, (plane, covered) in enumerate(planes):
        values[z], inside[z] = plane, covered
    return Sampled(values, inside)


def _separable(to_label: Floats, shape: tuple[int, int, int]) -> tuple[int, ...] | None:
    """Return for each axis of the grid the label axis that it runs along, None if they are not parallel."""
    linear = to_label[:3, :3]
    axes = tuple(int(axis) for axis in np.abs(linear).argmax(axis=0))
    if len(set(axes)) < 3:
        return None
    rest = linear.copy()
    rest[list(axes), [0, 1, 2]] = 0
    return axes if (np.abs(rest) * np.array(shape)).sum() < _PARALLEL_VOXELS else None


def _separate_planes(
    label: LabelMap, to_label: Floats, shape: tuple[int, int, int], axes: tuple[int, ...]
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    picks, covered = [], []
    for grid_axis, label_axis in enumerate(axes):
        at = np.rint(to_label[label_axis, grid_axis] * np.arange(shape[grid_axis]) + to_label[label_axis, 3])
        good = (at >= 0) & (at < label.values.shape[label_axis])
        picks.append(np.where(good, at, 0).astype(np.intp))
        covered.append(good)
    turned = np.transpose(label.values, axes)
    in_plane = covered[1][:, None] & covered[2][None, :]
    for z in range(shape[0]):
        inside = in_plane & covered[0][z]
        yield np.where(inside, turned[picks[0][z]][np.ix_(picks[1], picks[2])], 0), inside


def _general_planes(
    label: LabelMap, to_label: Floats, shape: tuple[int, int, int]
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    y, x = np.arange(shape[1])[:, None], np.arange(shape[2])[None, :]
    limits = label.values.shape
    for z in range(shape[0]):
        at = [np.rint(row[0] * z + row[1] * y + row[2] * x + row[3]) for row in to_label[:3]]
        inside = np.logical_and.reduce([(a >= 0) & (a < limit) for a, limit in zip(at, limits, strict=True)])
        i, j, k = (np.where(inside, a, 0).astype(np.intp) for a in at)
        yield np.where(inside, label.values[i, j, k], 0), inside


def half_label(label: LabelMap, facts: VolumeFacts, settings: LabelSettings) -> tuple[NDArray[np.uint8], LabelFacts]:
    """Bring a label map onto a study's half grid: 1 to 7 for C1 to C7, 0 for the rest, 255 where nothing is known.

    Args:
        label: the label map.
        facts: of the study's volume.
        settings: see there.

    Returns:
        uint8 (z, y, x) on the half grid, and what it shows.

    Raises:
        StudyRefused: ``label_geometry`` if the label map does not cover any of the volume, ``label_invalid`` if it has
            no voxel of C1 to C7 there.
    """
    if settings.label_geometry == "index":
        label, affine, full_affine = _by_index(label, facts)
    else:
        affine, full_affine = np.array(facts.half_affine_lps), np.array(facts.affine_lps)
    inner = facts.half_inner_shape
    sampled = onto_grid(label, affine, inner)
    if not sampled.inside.any():
        reason = _no_overlap(label.affine_lps, label.values.shape, full_affine, facts.shape)
        raise StudyRefused(RefusalCode.LABEL_GEOMETRY, reason)
    half = np.full(facts.half_shape, IGNORE_LABEL, np.uint8)
    levels = np.where(sampled.values <= len(LEVELS), sampled.values, 0)
    half[:, : inner[1], : inner[2]] = np.where(sampled.inside, levels, IGNORE_LABEL)
    counts = {level: int(np.count_nonzero(half == number)) for number, level in enumerate(LEVELS, 1)}
    if not any(counts.values()):
        raise StudyRefused(
            RefusalCode.LABEL_INVALID,
            "the label map has no voxel of C1 to C7 in the volume: a network would learn that the neck is empty",
        )
    difference = grid_difference(label.affine_lps, full_affine, facts.shape)
    return half, LabelFacts(counts, (*label.notes, *_notes(difference, sampled)))


def _by_index(label: LabelMap, facts: VolumeFacts) -> tuple[LabelMap, Floats, Floats]:
    """Replace both affines by ones over voxel indices of the volume before ``z_step``."""
    _, rows, columns = facts.shape
    slices = facts.slices
    _require_same_size(label.values.shape, columns, rows, slices)
    to_index = np.array([[0, 0, -1, slices - 1], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    full_affine = np.diag([float(facts.z_step), 1.0, 1.0, 1.0])
    to_half = np.linalg.inv(np.array(facts.affine_lps)) @ np.array(facts.half_affine_lps)
    return LabelMap(label.values, to_index), full_affine @ to_half, full_affine


def _require_same_size(shape: tuple[int, ...], columns: int, rows: int, slices: int) -> None:
    if shape != (columns, rows, slices):
        raise StudyRefused(
            RefusalCode.LABEL_GEOMETRY,
            f"label_geometry is index, but the label map has {shape} voxels (i, j, k) and the series has {columns} "
            f"columns, {rows} rows and {slices} slices",
        )


def _no_overlap(label_affine: Floats, label_shape: tuple[int, ...], affine: Floats, shape: tuple[int, ...]) -> str:
    spans = [_span(label_affine, label_shape), _span(affine, shape)]
    return f"the label map covers {spans[0]}, the volume {spans[1]} (LPS, mm): they do not overlap"


def _span(affine: Floats, shape: tuple[int, ...]) -> str:
    low, high = _box(affine, shape)
    return " ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in zip("xyz", low, high, strict=True))


def _box(affine: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the lowest and the highest x, y, z of a grid's voxel centres."""
    corners = np.array([[a, b, c, 1] for a in (0, shape[0] - 1) for b in (0, shape[1] - 1) for c in (0, shape[2] - 1)])
    points = (corners @ affine.T)[:, :3]
    return points.min(axis=0), points.max(axis=0)


def _notes(difference: float, sampled: Sampled) -> list[str]:
    notes = []
    if difference > EXACT_VOXELS:
        notes.append("the label's grid is not the volume's: nearest neighbour")
    if not sampled.inside.all():
        notes.append(f"{100 * float(np.mean(~sampled.inside)):.1f} % of the volume lie outside the label map: ignored")
    return notes
