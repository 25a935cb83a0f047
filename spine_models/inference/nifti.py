"""Arrays of this pipeline, (z, y, x) with an affine to DICOM's millimetres (LPS), as NIfTI-1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nifti_bytes(voxels: NDArray[Any], affine_lps: NDArray[np.float64]) -> bytes:
    """Return an uncompressed NIfTI file; equal arrays give equal bytes.

    Args:
        voxels: (z, y, x).
        affine_lps: 4x4, (z, y, x, 1) to DICOM's millimetres (LPS).
    """
    import nibabel

    turned = np.ascontiguousarray(voxels.transpose(2, 1, 0))
    image = nibabel.Nifti1Image(turned, nifti_affine(affine_lps))  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    return bytes(image.to_bytes())


def nifti_affine(affine_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn (z, y, x, 1) -> LPS into NIfTI's (x, y, z, 1) -> RAS: reversed columns, x and y negated."""
    columns = affine_lps[:, [2, 1, 0, 3]]
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ columns)
