"""What the page of a study shows: the neck at half resolution, its mask, and one slice of each level in full."""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.boxes import Box, union_of
from spine_models.data.volume_facts import VolumeFacts
from spine_models.inference.nifti import nifti_affine, nifti_bytes
from spine_models.levels import LEVELS
from spine_models.provenance.facts import Facts

MARGIN_MM = 25.0
"""Shown around the vertebrae on each side: the soft tissue in front of them and the skin of the neck behind."""
MOST_VOXELS = 4_000_000
"""Of the neck: with its mask, at most 16 MB of text in the page. Beyond, slices are thinned out."""
MOST_PIXELS = 512 * 512
"""Of a full slice; a larger plane is cut down around the neck."""
_HU = (-1024, 3071)


@dataclass(frozen=True)
class Places(Facts):
    """Where the levels of a study are, for people.

    Attributes:
        slices: level to the index of the slice to look at, on the volume's own slices.
        points: level to a point of its mask near that slice, in NIfTI's millimetres (RAS).
        slice_of_mm: (a, b, c, d): a point (x, y, z) in RAS is on the slice ax + by + cz + d of the series, from 0.
        z_step: slices of the series for each slice of the volume.
        series_slices: of the series.
        suspicious: the levels whose slice the classifiers named; that of the others has most of the level.
    """

    slices: dict[str, int]
    points: dict[str, tuple[float, ...]]
    slice_of_mm: tuple[float, ...]
    z_step: int
    series_slices: int
    suspicious: tuple[str, ...] = ()


def places(mask: NDArray[np.uint8], facts: VolumeFacts, suspicious: Mapping[str, int]) -> Places:
    """Return where to look in a study.

    Args:
        mask: (z, y, x) on the half grid.
        facts: of the volume.
        suspicious: level to the index of its most suspicious slice; without one, the slice with most of the level is
            taken.
    """
    slices: dict[str, int] = {}
    points: dict[str, tuple[float, ...]] = {}
    affine = nifti_affine(np.array(facts.half_affine_lps))
    for value, level in enumerate(LEVELS, start=1):
        areas = (mask == value).sum(axis=(1, 2))
        if not areas.any():
            continue
        slices[level] = suspicious.get(level, int(areas.argmax()))
        shown = np.flatnonzero(areas)
        z = int(shown[np.abs(shown - slices[level]).argmin()])
        rows, columns = np.nonzero(mask[z] == value)
        middle = ((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin()
        x, y, z_mm = (affine @ [columns[middle], rows[middle], z, 1.0])[:3]
        points[level] = (float(x), float(y), float(z_mm))
    along = np.linalg.inv(affine)[2] * facts.z_step
    named = tuple(level for level in slices if level in suspicious)
    return Places(slices, points, tuple(float(value) for value in along), facts.z_step, facts.slices, named)


def view_data(
    half: NDArray[np.int16],
    mask: NDArray[np.uint8],
    full: NDArray[np.int16],
    facts: VolumeFacts,
    boxes: Mapping[str, Box],
    slices: Mapping[str, int],
) -> dict[str, Any]:
    """Return the images of a study's page, each as NIfTI in base64.

    Args:
        half: (z, y, x) HU on the half grid, with its padding.
        mask: the same shape.
        full: (z, y, x) HU on the full grid; only ``slices`` are read.
        facts: of the volume.
        boxes: of the levels, on the half grid; without any, all of the volume is shown.
        slices: level to the slice that is shown at full resolution.

    Returns:
        ``neck``, ``mask`` and ``slices`` (level to image).
    """
    depth, rows, columns = facts.half_inner_shape
    box = _around(boxes, facts) if boxes else (0, depth, 0, rows, 0, columns)
    z0, z1, y0, y1, x0, x1 = box
    step = math.ceil((z1 - z0) * (y1 - y0) * (x1 - x0) / MOST_VOXELS)
    part = (slice(z0, z1, step), slice(y0, y1), slice(x0, x1))
    affine = _moved(facts.half_affine_lps, (z0, y0, x0), step)
    plane = _plane(box, facts, full.shape)
    corner = (plane[0].start, plane[1].start)
    shown = {
        level: _encoded(full[z][plane][None], _moved(facts.affine_lps, (z, *corner), 1)) for level, z in slices.items()
    }
    return {"neck": _encoded(half[part], affine), "mask": _encoded(mask[part], affine), "slices": shown}


def _around(boxes: Mapping[str, Box], facts: VolumeFacts) -> Box:
    """Pad the union of boxes by ``MARGIN_MM``, within the half grid."""
    edges = list(union_of(list(boxes.values())))
    for axis, (side, spacing) in enumerate(zip(facts.half_inner_shape, facts.half_spacing_mm, strict=True)):
        margin = math.ceil(MARGIN_MM / spacing)
        edges[2 * axis] = max(0, edges[2 * axis] - margin)
        edges[2 * axis + 1] = min(side, edges[2 * axis + 1] + margin)
    z0, z1, y0, y1, x0, x1 = edges
    return z0, z1, y0, y1, x0, x1


def _plane(box: Box, facts: VolumeFacts, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the part of a full slice that is shown: all of it, or ``MOST_PIXELS`` around the neck's middle."""
    _, rows, columns = shape
    if rows * columns <= MOST_PIXELS:
        return slice(0, rows), slice(0, columns)
    most = math.isqrt(MOST_PIXELS)
    parts = []
    for axis, side in ((1, rows), (2, columns)):
        length = min(side, most)
        middle = (box[2 * axis] + box[2 * axis + 1]) / 2 / facts.half_factor
        start = min(max(round(middle - length / 2), 0), side - length)
        parts.append(slice(start, start + length))
    return parts[0], parts[1]


def _moved(affine_lps: Any, start: tuple[int, ...], step: int) -> NDArray[np.float64]:
    """Return the affine of a part of a grid that begins at the voxel ``start`` and takes every ``step``-th slice."""
    affine = np.array(affine_lps, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ np.array(start, dtype=np.float64)
    affine[:3, 0] *= step
    return affine


def _encoded(voxels: NDArray[Any], affine_lps: NDArray[np.float64]) -> str:
    kept = voxels if voxels.dtype == np.uint8 else np.clip(voxels, *_HU)
    return base64.b64encode(gzip.compress(nifti_bytes(kept, affine_lps), mtime=0)).decode("ascii")
