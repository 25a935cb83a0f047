"""What bone looks like: a dense cortical shell around spongy bone."""

from __future__ import annotations

import numpy as np

from spine_models.data.phantom.anatomy import Patient
from spine_models.data.phantom.canvas import Slab, Window
from spine_models.data.phantom.shapes import Field

CORTEX_MM = 1.3


def bone_hu(slab: Slab, distance: Field, patient: Patient, density: float = 1.0) -> Field:
    """Return the attenuation (HU) of bone whose surface is ``distance`` away (mm, negative inside)."""
    spongy, cortical = patient.bone_hu
    shell = np.clip((np.float32(CORTEX_MM) + distance) * np.float32(1 / slab.voxel) + np.float32(0.5), 0, 1)
    bone: Field = np.float32(density * spongy) + shell * np.float32(density * (cortical - spongy))
    return bone


def paint_bone(slab: Slab, window: Window, distance: Field, patient: Patient, density: float) -> None:
    """Paint a bone and remember how near it is, so that vertebrae keep their distance."""
    slab.paint(window, distance, bone_hu(slab, distance, patient, density))
    slab.nearest[window] = np.minimum(slab.nearest[window], distance)
