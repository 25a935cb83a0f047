"""The voxels of label maps on disk (NIfTI), read within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.disk import of_the_machine, patiently
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.labels.header import LABEL_MAP, MAX_LABEL_VOXELS, Floats, OpenLabel, open_label
from spine_models.data.labels.numbering import FROM_C1, LARGEST_FROM_C1, NUMBERINGS, level_numbers

_INTEGER_TOLERANCE = 0.01
_LARGEST = 32767  # of an int16, in which label maps of many structures are stored


@dataclass(frozen=True)
class LabelSettings:
    """How labels are brought onto the half grid.

    Attributes:
        label_geometry: ``affine``: by the affines of both; ``index``: by voxel index, for labels whose affines are
            known to be broken. Label voxel (i, j, k) is then column i, row ``rows - 1 - j`` and slice
            ``slices - 1 - k`` of the volume before ``z_step``, which is the storage order of common converters.
        label_numbers: a preset (``numbering.NUMBERINGS``), or the number of each level C1 to C7.
        allow_symlinks: follow links that lead out of the data set.
    """

    label_geometry: str = "affine"
    label_numbers: str | Mapping[str, int] = FROM_C1
    allow_symlinks: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of C1 to C7 in the label maps."""
        return level_numbers(self.label_numbers)


@dataclass(frozen=True)
class LabelMap:
    """Labels as stored.

    Attributes:
        values: uint8 (i, j, k) in the file's order: 1 to 7 for C1 to C7, larger numbers or 0 for the rest.
        affine_lps: 4x4, (i, j, k, 1) to mm (x, y, z, 1), LPS; of no meaning with ``label_geometry: index``.
        notes: sentences on what is out of the ordinary.
    """

    values: NDArray[np.uint8]
    affine_lps: Floats
    notes: tuple[str, ...] = ()


def read_label(path: Path, settings: LabelSettings, max_voxels: int = MAX_LABEL_VOXELS) -> LabelMap:
    """Read a label map stored as integers or as floats that are whole numbers.

    Raises:
        StudyRefused: as ``open_label``; ``label_invalid`` for values that are not labels.
        DiskError: if the disk does not give it.
    """

    def read() -> LabelMap:
        opened = open_label(path, settings.label_geometry, max_voxels)
        return LabelMap(_voxels(opened, settings), opened.affine_lps, opened.notes)

    return patiently(read, LABEL_MAP)


def _voxels(opened: OpenLabel, settings: LabelSettings) -> NDArray[np.uint8]:
    values = np.empty(opened.shape, np.uint8)
    try:
        for k in range(opened.shape[2]):  # a slab at a time, so that floats never fill memory
            slab = np.asarray(opened.image.dataobj[:, :, k]).reshape(opened.shape[:2])
            values[:, :, k] = _levels_of(_whole(slab, opened.image.dataobj), settings)
    except StudyRefused:
        raise
    except Exception as error:  # nibabel and its decompressors raise many kinds on damaged bytes
        if of_the_machine(error):
            raise
        raise StudyRefused(
            RefusalCode.LABEL_DAMAGED, f"the voxels of the label map cannot be read ({type(error).__name__})"
        ) from None
    return values


def _whole(slab: NDArray[Any], stored: Any) -> NDArray[Any]:
    """Return the values as whole numbers; a float that is one nearly, as a slope in float32 leaves it, is rounded."""
    whole = slab
    if slab.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # infinities; they fail the comparison
            whole = np.rint(slab)
            wrong = ~(np.abs(slab - whole) <= _INTEGER_TOLERANCE)
        if wrong.any():
            slope = float(getattr(stored, "slope", 1.0))
            scaled = (
                f", stored as {slab[wrong][0] / slope:g} with the slope {slope:g}" if slope not in (0.0, 1.0) else ""
            )
            raise StudyRefused(
                RefusalCode.LABEL_INVALID,
                f"the label map holds {slab[wrong][0]:g}{scaled}, which is not a whole number",
            )
    if whole.min() < 0 or whole.max() > _LARGEST:
        value = whole.min() if whole.min() < 0 else whole.max()
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"the label map holds {value:g}, which is not a label")
    return whole


def _levels_of(whole: NDArray[Any], settings: LabelSettings) -> NDArray[np.uint8]:
    """Number the levels from C1 = 1; in another numbering than the challenge's all else is background."""
    if settings.numbers == NUMBERINGS[FROM_C1]:
        if whole.max() > LARGEST_FROM_C1:
            raise StudyRefused(
                RefusalCode.LABEL_INVALID,
                f"the label map holds {whole.max():g}, which no vertebra has where C1 is 1: set label_numbers to "
                f"{', '.join(NUMBERINGS)}, or to a number for each of C1 to C7",
            )
        return np.asarray(whole, np.uint8)
    levels = np.zeros(whole.shape, np.uint8)
    for level, number in enumerate(settings.numbers, start=1):
        levels[whole == number] = level
    return levels
