"""Which of several stacks of a study its label map was drawn on, from headers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from spine_models.data.dataset.label_files import one_label_file, require_inside
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dicom.choice import Candidate, Choice, Choose, most_slices
from spine_models.data.dicom.geometry import Grid, build_grid
from spine_models.data.dicom.study import VolumeSettings
from spine_models.data.labels.grids import EXACT_VOXELS, grid_difference
from spine_models.data.labels.header import Floats, open_label
from spine_models.provenance.canonical import digest_json


@dataclass(frozen=True)
class LabelGrid:
    """Where the voxels of a label map are.

    Attributes:
        shape: (i, j, k).
        affine_lps: rows of the 4x4, (i, j, k, 1) to mm, LPS; None with ``label_geometry: index``.
    """

    shape: tuple[int, int, int]
    affine_lps: tuple[tuple[float, ...], ...] | None

    @property
    def digest(self) -> str:
        """Digest of the geometry, for keys."""
        return digest_json(asdict(self))


def label_grid(paths: Sequence[Path], dataset_dir: Path, settings: VolumeSettings) -> LabelGrid | None:
    """Read the header of a study's label map; None where there is none that can be read, which convert_labels names.

    Args:
        paths: files of the study's label map; see ``label_files``.
        dataset_dir: the data set.
        settings: say whether affines count, and links out of the data set.
    """
    if not paths:
        return None
    try:
        path = one_label_file(paths)
        if not settings.allow_symlinks:
            require_inside(path, dataset_dir)
        label = open_label(path, settings.label_geometry)
    except StudyRefused:
        return None
    rows = tuple(tuple(row) for row in label.affine_lps.tolist())
    return LabelGrid(label.shape, None if settings.label_geometry == "index" else rows)


def stack_of(grid: LabelGrid | None) -> Choose:
    """Return how a data set's stack is chosen: the one on the label map's grid, otherwise the one with most slices."""
    return most_slices if grid is None else partial(_on_the_grid, grid)


def _on_the_grid(grid: LabelGrid, candidates: Sequence[Candidate]) -> Choice:
    """Prefer the stack whose voxels are those of the label map; where none is on its grid, take most slices."""
    shared = {candidate: _shared_part(grid, candidate) for candidate in candidates}
    by_slices = most_slices(candidates)
    ranked = sorted(by_slices.ranked, key=lambda candidate: -shared[candidate])

    def why(chosen: Candidate, other: Candidate) -> str:
        return "not the grid of the label map" if shared[other] < shared[chosen] else by_slices.why(chosen, other)

    return Choice(ranked, 1, why)


def _shared_part(grid: LabelGrid, candidate: Candidate) -> float:
    """Return which part of the voxels of label map and stack is of both; 0 where their grids do not agree."""
    try:
        stack = build_grid(candidate.headers)
    except StudyRefused:
        return 0.0
    if grid.affine_lps is None:
        slices, rows, columns = stack.shape
        return float(grid.shape == (columns, rows, slices))
    affine = np.array(grid.affine_lps)
    if grid_difference(affine, stack.affine, stack.shape) > EXACT_VOXELS:
        return 0.0
    sides = np.array(grid.shape)
    low, high = _box_in(affine, stack)
    common = np.clip(np.minimum(high, sides - 1) - np.maximum(low, 0) + 1, 0, None).prod()
    return round(float(common / (sides.prod() + (high - low + 1).prod() - common)), 6)


def _box_in(affine: Floats, stack: Grid) -> tuple[Floats, Floats]:
    """Return the lowest and the highest i, j, k of a stack in the label map."""
    ends = np.array([[0, 0, 0, 1], [*(side - 1 for side in stack.shape), 1]])
    corners = np.rint((np.linalg.inv(affine) @ stack.affine @ ends.T)[:3])
    return corners.min(axis=1), corners.max(axis=1)
