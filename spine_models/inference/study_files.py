"""What is written for a predicted study: mask, pictures, record. No file holds a patient's name."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spine_models.inference.overlays import axial_picture, picture_source, sagittal_picture, save_png
from spine_models.inference.predict_study import StudyPrediction
from spine_models.inference.prediction_files import SUFFIXES
from spine_models.levels import LEVELS
from spine_models.provenance.files import replacing
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record, file_facts, write_record


def write_study(folder: Path, study: str, key: Key, prediction: StudyPrediction) -> Record:
    """Write mask and pictures of a study, then its record.

    The axial picture shows the level with the highest probability, without probabilities the slice with most of a mask.

    Args:
        folder: of the shard.
        study: what the files are called.
        key: see ``provenance.keys.Key``.
        prediction: of the study.
    """
    paths = {kind: folder / f"{study}{suffix}" for kind, suffix in SUFFIXES.items()}
    volume = prediction.facts.volume
    rows, columns = volume.half_inner_shape[1:]
    save_mask(paths["mask"], prediction.mask[:, :rows, :columns], np.array(volume.half_affine_lps))
    source = picture_source(prediction.half, prediction.mask, volume.shape, volume.half_factor, volume.spacing_mm)
    save_png(paths["sagittal"], sagittal_picture(source))
    probabilities = prediction.facts.probabilities
    shown = max(LEVELS, key=lambda level: probabilities[level]) if probabilities else None
    save_png(paths["axial"], axial_picture(source, shown))
    files = {path.name: file_facts(path) for path in paths.values()}
    return write_record(folder / f"{study}.json", key, files, prediction.facts.to_json())


def save_mask(path: Path, mask: NDArray[np.uint8], affine_lps: NDArray[np.float64]) -> None:
    """Write a mask as NIfTI, atomically; equal masks give equal bytes.

    Args:
        path: the ``.nii.gz`` file.
        mask: (z, y, x) uint8 levels.
        affine_lps: 4x4, (z, y, x, 1) to DICOM's millimetres (LPS).
    """
    import nibabel

    voxels = np.ascontiguousarray(mask.transpose(2, 1, 0))
    image = nibabel.Nifti1Image(voxels, nifti_affine(affine_lps))  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def nifti_affine(affine_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn (z, y, x, 1) -> LPS into NIfTI's (x, y, z, 1) -> RAS: reversed columns, x and y negated."""
    columns = affine_lps[:, [2, 1, 0, 3]]
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ columns)
