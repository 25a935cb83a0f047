"""Data sets for measurements: only folders, and studies as the phantom's writer writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from spine_models.data.phantom.dicom_writing import AXIAL, Series, write_series
from spine_models.data.phantom.encoding import STYLES, Encoding
from spine_models.levels import TARGETS


def write_empty_studies(folder: Path, studies: int) -> Path:
    """Make a data set of ``studies`` folders with one empty file each, and return ``folder``.

    As many as there are folds have a label map, which is empty too.
    """
    names = [f"1.2.826.0.1.3680043.{number}" for number in range(1, studies + 1)]
    for name in names:
        study = folder / "train_images" / name
        study.mkdir(parents=True)
        (study / "1.dcm").touch()
    (folder / "segmentations").mkdir()
    for name in names[:4]:
        (folder / "segmentations" / f"{name}.nii").touch()
    write_train_table(folder, names)
    return folder


def write_study(folder: Path, study: str, hu: NDArray[np.int16], first_number: int = 1) -> list[Path]:
    """Write one uncompressed axial series, a millimetre between slices, from 1000.5 mm downwards.

    Args:
        folder: of the files.
        study: StudyInstanceUID and PatientID.
        hu: int16 (slice, row, column).
        first_number: of the first file and InstanceNumber.
    """
    positions = [(-123.5, -15.64097, 1000.5 - place) for place in range(len(hu))]
    encoding = Encoding(str(ExplicitVRLittleEndian), STYLES[0], False, first_number, 1.0, 0)
    series = Series(study, f"{study}.1", f"{study}.2", study, hu, positions, AXIAL, (0.5, 0.5), 1.0, encoding)
    return write_series(folder, series)


def write_train_table(folder: Path, studies: list[str]) -> None:
    """Write ``train.csv`` of studies without a fracture."""
    rows = [",".join([study, *["0"] * len(TARGETS)]) for study in studies]
    (folder / "train.csv").write_text("\n".join([",".join(["StudyInstanceUID", *TARGETS]), *rows]) + "\n")
