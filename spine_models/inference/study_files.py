"""What is written for a predicted study: mask, pictures, record. No file holds a patient's name."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spine_models.inference.nifti import nifti_bytes
from spine_models.inference.overlays import axial_picture, picture_source, sagittal_picture, save_png
from spine_models.inference.predict_study import StudyPrediction
from spine_models.inference.prediction_files import SUFFIXES
from spine_models.levels import LEVELS
from spine_models.provenance.files import replacing, write_json
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record, file_facts, write_record


def write_study(folder: Path, study: str, key: Key, prediction: StudyPrediction) -> Record:
    """Write mask, pictures and the images of the page of a study, then its record.

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
    write_json(paths["view"], prediction.images)
    files = {path.name: file_facts(path) for path in paths.values()}
    return write_record(folder / f"{study}.json", key, files, prediction.facts.to_json())


def save_mask(path: Path, mask: NDArray[np.uint8], affine_lps: NDArray[np.float64]) -> None:
    """Write a mask as NIfTI, atomically; equal masks give equal bytes.

    Args:
        path: the ``.nii.gz`` file.
        mask: (z, y, x) uint8 levels.
        affine_lps: 4x4, (z, y, x, 1) to DICOM's millimetres (LPS).
    """
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(nifti_bytes(mask, affine_lps), mtime=0))
