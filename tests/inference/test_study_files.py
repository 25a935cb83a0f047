"""The mask as NIfTI lies where the study lies."""

import nibabel
import numpy as np

from spine_models.inference.nifti import nifti_affine
from spine_models.inference.study_files import save_mask


def test_a_voxel_keeps_its_place_in_millimetres(tmp_path):
    # z downwards by 2 mm from 100, y to the back by 0.5 from -50, x to the left by 0.25 from 10; a tilt as well.
    affine = np.array([[0, 0, 0.25, 10], [0.1, 0.5, 0, -50], [-2, 0, 0, 100], [0, 0, 0, 1]], float)
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 2, 3] = 7
    save_mask(tmp_path / "1.2_mask.nii.gz", mask, affine)
    image = nibabel.load(tmp_path / "1.2_mask.nii.gz")
    data = np.asarray(image.dataobj)
    assert data.shape == (6, 5, 4)
    assert data.dtype == np.uint8
    assert data[3, 2, 1] == 7
    left, back, up = affine @ [1, 2, 3, 1] @ np.eye(4)[:, :3]
    np.testing.assert_allclose((image.affine @ [3, 2, 1, 1])[:3], [-left, -back, up])
    assert nibabel.aff2axcodes(nifti_affine(affine)) == ("L", "P", "I")
    assert image.header.get_xyzt_units()[0] == "mm"


def test_equal_masks_are_equal_bytes(tmp_path):
    mask = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 8
    for name in ("a", "b"):
        save_mask(tmp_path / f"{name}.nii.gz", mask, np.eye(4))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
