"""Label maps on disk (NIfTI): checked by their headers, and read within bounds.

NIfTI affines lead to RAS millimetres (x to the right, y to the front), DICOM's to LPS: the two differ by the signs of
x and y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.labels.numbering import FROM_C1, LARGEST_FROM_C1, NUMBERINGS, level_numbers

Floats = NDArray[np.float64]

MAX_LABEL_SIDE = 4096
MAX_LABEL_VOXELS = 1 << 30
_ROOMY = 4
"""A label map may have this many times the voxels of its volume; more is no label of it, but may fill the memory."""
_ALWAYS_ALLOWED = 1 << 24
_SAME_FORMS_MM = 0.5
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_INTEGER_TOLERANCE = 0.01
_LARGEST = 32767  # of an int16, in which label maps of many structures are stored
_GZIP = b"\x1f\x8b"


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


@dataclass(frozen=True)
class OpenLabel:
    """A label map of which the header alone was read; see ``LabelMap``."""

    image: Any
    shape: tuple[int, int, int]
    affine_lps: Floats
    notes: tuple[str, ...]


def most_voxels(rows: int, columns: int, slices: int) -> int:
    """Return how many voxels the label map of such a volume may have."""
    return min(MAX_LABEL_VOXELS, max(_ALWAYS_ALLOWED, _ROOMY * rows * columns * slices))


def open_label(path: Path, settings: LabelSettings, max_voxels: int = MAX_LABEL_VOXELS) -> OpenLabel:
    """Read the header of a label map.

    Raises:
        StudyRefused: ``label_damaged``, ``label_invalid``, or ``label_geometry`` if it has no affine that can be used.
    """
    try:
        image: Any = nib.load(path, keep_file_open=True)  # a compressed file is read through once, not once a slab
        shape = tuple(int(side) for side in image.shape)
        storage = image.get_data_dtype()
    except Exception as error:  # nibabel raises many kinds on damaged bytes
        raise StudyRefused(RefusalCode.LABEL_DAMAGED, _why_damaged(path, error)) from None
    shape = shape[:3] if len(shape) > 3 and set(shape[3:]) == {1} else shape
    if len(shape) != 3 or min(shape) < 1 or max(shape) > MAX_LABEL_SIDE:
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"the label map has the shape {shape}, not that of a volume")
    if np.prod(shape, dtype=float) > max_voxels:
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"a label map of the shape {shape} is too large for its volume")
    if storage.kind not in "iuf":
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"the label map holds {storage}, not labels")
    affine, notes = (np.eye(4), ()) if settings.label_geometry == "index" else _geometry(image, shape)
    return OpenLabel(image, (shape[0], shape[1], shape[2]), affine, notes)


def read_label(path: Path, settings: LabelSettings, max_voxels: int = MAX_LABEL_VOXELS) -> LabelMap:
    """Read a label map stored as integers or as floats that are whole numbers.

    Raises:
        StudyRefused: as ``open_label``; ``label_invalid`` for values that are no labels.
    """
    opened = open_label(path, settings, max_voxels)
    values = np.empty(opened.shape, np.uint8)
    try:
        for k in range(opened.shape[2]):  # a slab at a time, so that floats never fill memory
            slab = np.asarray(opened.image.dataobj[:, :, k]).reshape(opened.shape[:2])
            values[:, :, k] = _levels_of(_whole(slab, opened.image.dataobj), settings)
    except StudyRefused:
        raise
    except Exception as error:  # nibabel and its decompressors raise many kinds on damaged bytes
        raise StudyRefused(
            RefusalCode.LABEL_DAMAGED, f"the voxels of the label map cannot be read ({type(error).__name__})"
        ) from None
    return LabelMap(values, opened.affine_lps, opened.notes)


def _why_damaged(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as stream:
            is_gzip = stream.read(len(_GZIP)) == _GZIP
    except OSError:
        is_gzip = False
    called_gzip = path.suffix.lower() == ".gz"
    if is_gzip and not called_gzip:
        return "the label map is compressed, but not called so: name it .nii.gz"
    if called_gzip and not is_gzip:
        return "the label map is not compressed, but called so: name it .nii"
    if isinstance(error, FileNotFoundError):  # nibabel looks for suffixes in small letters or capitals
        return "the suffix of the label map mixes capitals and small letters: name it .nii or .nii.gz"
    return f"the label map cannot be read ({type(error).__name__})"


def _geometry(image: Any, shape: tuple[int, ...]) -> tuple[Floats, tuple[str, ...]]:
    """Return the LPS affine of a header and notes; nibabel would make one up where neither form is set."""
    sform, qform = (form(coded=True)[0] for form in (image.get_sform, _quiet(image.get_qform)))
    affine = qform if sform is None else sform
    if affine is None:
        raise StudyRefused(
            RefusalCode.LABEL_GEOMETRY,
            "the label map says nothing about where it lies (sform_code and qform_code are 0): write an affine, or set "
            "label_geometry: index for the whole data set",
        )
    affine = np.array(affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise StudyRefused(RefusalCode.LABEL_GEOMETRY, "the affine of the label map is not invertible")
    disagree = sform is not None and qform is not None and not _same_places(sform, qform, shape)
    notes = ("the sform and the qform of the label map disagree: the sform is used",) if disagree else ()
    return _LPS_FROM_RAS @ affine, notes


def _quiet(get_qform: Any) -> Any:
    """A quaternion that is no rotation is as good as none, as long as there is an sform."""

    def get(coded: bool) -> Any:
        try:
            return get_qform(coded=coded)
        except ValueError:
            return None, 0

    return get


def _same_places(one: Floats, other: Floats, shape: tuple[int, ...]) -> bool:
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    return bool(np.abs(corners @ (np.asarray(one) - np.asarray(other)).T).max() <= _SAME_FORMS_MM)


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
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"the label map holds {value:g}, which is no label")
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
