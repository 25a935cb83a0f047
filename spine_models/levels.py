"""Vertebra levels, the targets of a classifier and the labels of a mask."""

from __future__ import annotations

LEVELS: tuple[str, ...] = ("C1", "C2", "C3", "C4", "C5", "C6", "C7")
"""Vertebra levels; level ``i`` has voxel label ``i + 1`` in every mask."""

TARGETS: tuple[str, ...] = ("patient_overall", *LEVELS)
"""The eight targets of a classifier, in the order of its outputs."""

IGNORE_LABEL = 255
"""Voxels of a label volume that no label map covers: not part of the segmentation loss."""
