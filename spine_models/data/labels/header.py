"""The headers of label maps (NIfTI): what they hold, and where it is.

NIfTI affines lead to RAS millimetres (x to the right, y to the front), DICOM's to LPS: the two differ by the signs of
x and y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.openers import ImageOpener
from numpy.typing import NDArray

from spine_models.data.dataset.disk import of_the_machine, patiently
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused

Floats = NDArray[np.float64]

LABEL_MAP = "the label map of the study"
"""What errors of the disk call the file, whose name they do not say."""

MAX_LABEL_SIDE = 4096
MAX_LABEL_VOXELS = 1 << 30
_ROOMY = 4
"""A label map may have this many times the voxels of its volume; more cannot be its own, but may fill the memory."""
_ALWAYS_ALLOWED = 1 << 24
_MOST_DEFLATED = 1032
"""Bytes that one byte of a gzip file stands for at most (zlib's technical details)."""
_FURTHEST_VOXELS = 64 << 20
"""Bytes of header and notes before the voxels."""
_SAME_FORMS_MM = 0.5
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GZIP = b"\x1f\x8b"
_NIFTI2 = (540, int.from_bytes((540).to_bytes(4, "big"), "little"))
"""The first number of a NIfTI-2 header, in either byte order."""


@dataclass(frozen=True)
class OpenLabel:
    """A label map of which only the header was read; see ``nifti.LabelMap``."""

    image: Any
    shape: tuple[int, int, int]
    affine_lps: Floats
    notes: tuple[str, ...]


class _NoExtensions(nib.nifti1.Nifti1Extensions):
    """Notes between header and voxels: not read, since nothing here needs them and they claim any size."""

    @classmethod
    def from_fileobj(cls, fileobj: Any, size: int, byteswap: bool) -> _NoExtensions:
        """Read nothing: the voxels are found by their own offset."""
        return cls()


class _Header1(nib.Nifti1Header):
    exts_klass = _NoExtensions


class _Header2(nib.Nifti2Header):
    exts_klass = _NoExtensions


class _Nifti1(nib.Nifti1Image):
    header_class = _Header1


class _Nifti2(nib.Nifti2Image):
    header_class = _Header2


def most_voxels(rows: int, columns: int, slices: int) -> int:
    """Return how many voxels the label map of such a volume may have."""
    return min(MAX_LABEL_VOXELS, max(_ALWAYS_ALLOWED, _ROOMY * rows * columns * slices))


def open_label(path: Path, label_geometry: str, max_voxels: int = MAX_LABEL_VOXELS) -> OpenLabel:
    """Read the header of a label map.

    Args:
        path: the label map.
        label_geometry: see ``nifti.LabelSettings``; with ``index`` the affine is not looked at.
        max_voxels: a larger one is refused.

    Raises:
        StudyRefused: ``label_damaged``, ``label_invalid``, or ``label_geometry`` if it has no affine that can be used.
        DiskError: if the disk does not give it.
    """
    image, shape, storage = patiently(lambda: _opened(path), LABEL_MAP)
    shape = shape[:3] if len(shape) > 3 and set(shape[3:]) == {1} else shape
    if len(shape) != 3 or min(shape) < 1 or max(shape) > MAX_LABEL_SIDE:
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"the label map has the shape {shape}, not that of a volume")
    if np.prod(shape, dtype=float) > max_voxels:
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"a label map of the shape {shape} is too large for its volume")
    if storage.kind not in "iuf":
        raise StudyRefused(RefusalCode.LABEL_INVALID, f"the label map holds {storage}, not labels")
    patiently(lambda: _require_held(path, image.dataobj.offset, math.prod(shape) * storage.itemsize), LABEL_MAP)
    affine, notes = (np.eye(4), ()) if label_geometry == "index" else _geometry(image, shape)
    return OpenLabel(image, (shape[0], shape[1], shape[2]), affine, notes)


def _opened(path: Path) -> tuple[Any, tuple[int, ...], np.dtype[Any]]:
    """Return a label map's image, its shape and the type that its voxels are stored in."""
    try:
        image = _load(path)
        shape, storage = tuple(int(side) for side in image.shape), image.get_data_dtype()
    except Exception as error:  # nibabel raises many kinds on damaged bytes
        if of_the_machine(error):
            raise
        raise StudyRefused(RefusalCode.LABEL_DAMAGED, _why_damaged(path, error)) from None
    return image, shape, storage


def _require_held(path: Path, begin: int, claimed: int) -> None:
    """Check what a header says of the sizes of the file against the file, before memory is taken for it."""
    size = path.stat().st_size
    most = size * _MOST_DEFLATED if path.suffix.lower() == ".gz" else size
    if not 0 <= begin <= _FURTHEST_VOXELS or begin + claimed > most:
        raise StudyRefused(
            RefusalCode.LABEL_DAMAGED,
            f"the header claims {claimed} bytes of voxels after {begin} others, which the file does not hold",
        )


def _load(path: Path) -> Any:
    """Open a NIfTI file; ``nib.load`` would look for suffixes in small letters or in capitals, and not for both."""
    with ImageOpener(str(path)) as stream:
        size = stream.read(4)
    kind: Any = _Nifti2 if int.from_bytes(size, "little") in _NIFTI2 else _Nifti1
    files = {"image": FileHolder(str(path))}
    return kind.from_file_map(files, keep_file_open=True)  # a compressed file is read through once, not once a slab


def _why_damaged(path: Path, error: Exception) -> str:
    with path.open("rb") as stream:
        is_gzip = stream.read(len(_GZIP)) == _GZIP
    called_gzip = path.suffix.lower() == ".gz"
    if is_gzip and not called_gzip:
        return "the label map is compressed, but not called so: name it .nii.gz"
    if called_gzip and not is_gzip:
        return "the label map is not compressed, but called so: name it .nii"
    return f"the label map cannot be read ({type(error).__name__})"


def _geometry(image: Any, shape: tuple[int, ...]) -> tuple[Floats, tuple[str, ...]]:
    """Return the LPS affine of a header and notes; nibabel would make one up where neither form is set."""
    sform, qform = (form(coded=True)[0] for form in (image.get_sform, _quiet(image.get_qform)))
    affine = qform if sform is None else sform
    if affine is None:
        raise StudyRefused(
            RefusalCode.LABEL_GEOMETRY,
            "the label map says nothing about where it is (sform_code and qform_code are 0): write an affine, or set "
            "label_geometry: index for the whole data set",
        )
    affine = np.array(affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise StudyRefused(RefusalCode.LABEL_GEOMETRY, "the affine of the label map is not invertible")
    disagree = sform is not None and qform is not None and not _same_places(sform, qform, shape)
    notes = ("the sform and the qform of the label map disagree: the sform is used",) if disagree else ()
    return _LPS_FROM_RAS @ affine, notes


def _quiet(get_qform: Any) -> Any:
    """A quaternion that is not a rotation is as good as none, as long as there is an sform."""

    def get(coded: bool) -> Any:
        try:
            return get_qform(coded=coded)
        except ValueError:
            return None, 0

    return get


def _same_places(one: Floats, other: Floats, shape: tuple[int, ...]) -> bool:
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    return bool(np.abs(corners @ (np.asarray(one) - np.asarray(other)).T).max() <= _SAME_FORMS_MM)
