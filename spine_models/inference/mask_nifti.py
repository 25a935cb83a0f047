"""A mask as NIfTI on the grid of the original slices, as dcm2niix places a series, with the names of its levels."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from spine_models.inference.original_slices import Labels, OriginalSlices
from spine_models.inference.overlays import LEVEL_COLOURS
from spine_models.levels import LEVELS
from spine_models.provenance.files import replacing

Floats = NDArray[np.float64]
_NAMES = 0
"""Code of the header extension: readers of names (3D Slicer's and TotalSegmentator's) look for Caret's XML below it."""
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_nifti(path: Path, slices: OriginalSlices) -> tuple[str, ...]:
    """Write a mask, atomically and plane by plane; equal masks give equal bytes.

    Voxels are (column, row from the bottom, plane along the normal of the image), the order of dcm2niix. Sheared stacks
    (gantry tilt) have no orthonormal axes, which ITK asks for: their slices are moved within their planes by whole
    pixels, each by less than one from where it is, on a grid wide enough for all.

    Args:
        path: the ``.nii.gz`` file.
        slices: the mask.

    Returns:
        sentences on what differs from the original slices.
    """
    placement = _placed(slices)
    image = nibabel.Nifti1Image(np.broadcast_to(np.uint8(0), placement.shape), placement.affine)  # type: ignore[no-untyped-call]
    header: Any = image.header
    header.set_xyzt_units("mm")
    header.set_sform(placement.affine, code=1)
    header.set_qform(placement.affine, code=1)
    header.extensions.append(nibabel.nifti1.Nifti1Extension(_NAMES, _label_table().encode()))
    header["vox_offset"] = 0
    with (
        replacing(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0, compresslevel=6) as stream,
    ):
        header.write_to(stream)
        for plane in _planes(slices, placement):
            stream.write(plane.tobytes())
    return placement.notes


@dataclass(frozen=True)
class _Placement:
    """Where the planes of a file are.

    Attributes:
        shape: (columns, rows, planes) of the file.
        affine: 4x4, voxels to mm, RAS.
        shifts: (planes, 2) rows and columns by which each plane of the study's grid is moved.
        reverse: planes follow each other towards the head.
        notes: sentences on what differs from the original slices.
    """

    shape: tuple[int, int, int]
    affine: Floats
    shifts: NDArray[np.int64]
    reverse: bool
    notes: tuple[str, ...]


def _placed(slices: OriginalSlices) -> _Placement:
    grid = slices.grid
    stored = grid.stored_affine
    step, row, column = stored[:3, 0], stored[:3, 1], stored[:3, 2]
    sizes = np.linalg.norm(row), np.linalg.norm(column)
    normal = np.cross(column / sizes[1], row / sizes[0])
    height = float(step @ normal)
    count = grid.shape[0]
    aside = np.array([step @ row / sizes[0] ** 2, step @ column / sizes[1] ** 2])
    shifts = np.rint(np.arange(count)[:, None] * aside).astype(np.int64)
    origin = stored[:3, 3] + shifts.min(axis=0) @ np.array([row, column])
    shifts -= shifts.min(axis=0)
    rows, columns = (size + int(most) for size, most in zip(_stored_shape(slices), shifts.max(axis=0), strict=True))
    reverse = height < 0
    affine = np.eye(4)
    # Rows from the bottom up, planes along the normal.
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = column, -row, abs(height) * normal
    affine[:3, 3] = origin + (rows - 1) * row + ((count - 1) * height * normal if reverse else 0)
    return _Placement((columns, rows, count), _TO_RAS @ affine, shifts, reverse, _notes(slices, shifts))


def _notes(slices: OriginalSlices, shifts: NDArray[np.int64]) -> tuple[str, ...]:
    notes = []
    if shifts.any():
        notes.append("the NIfTI mask is resampled to an orthonormal grid: its slices are moved by whole pixels")
    if not np.array_equal(slices.grid.coordinates, np.arange(slices.grid.shape[0])):
        notes.append("the NIfTI mask has planes in even steps, where the slices have not")
    return tuple(notes)


def _stored_shape(slices: OriginalSlices) -> tuple[int, int]:
    _, y, x = slices.grid.shape
    return (x, y) if slices.grid.in_plane.transposed else (y, x)


def _planes(slices: OriginalSlices, placement: _Placement) -> Iterator[Labels]:
    """Return the planes of the file in its order, each (row from the bottom, column)."""
    columns, rows, count = placement.shape
    height, width = _stored_shape(slices)
    for index in range(count)[:: -1 if placement.reverse else 1]:
        plane = np.zeros((rows, columns), np.uint8)
        top, left = placement.shifts[index]
        plane[top : top + height, left : left + width] = slices.plane(index)
        yield plane[::-1]


def _label_table() -> str:
    labels = "".join(
        f'<Label Key="{key}" Red="{red / 255:.3f}" Green="{green / 255:.3f}" Blue="{blue / 255:.3f}" Alpha="1">'
        f"<![CDATA[{level}]]></Label>"
        for key, (level, (red, green, blue)) in enumerate(zip(LEVELS, LEVEL_COLOURS, strict=True), start=1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation Index="0">'
        f"<LabelTable>{labels}</LabelTable></VolumeInformation></CaretExtension>"
    )
