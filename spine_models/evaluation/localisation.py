"""How near the most suspicious slice is to the fracture that a person marked, out of fold.

Compared are fractures of ``train_bounding_boxes.csv`` in studies with one fractured level, since a box does not say
which level it is on, where the networks find that level: at Youden's point, if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.tables import read_boxes
from spine_models.data.volume_facts import VolumeFacts
from spine_models.evaluation.ensemble import OofTableFacts
from spine_models.evaluation.operating_points import OperatingPoints
from spine_models.evaluation.scores import rounded
from spine_models.levels import LEVELS
from spine_models.provenance.shelf import Shelf

if TYPE_CHECKING:
    import pandas as pd

NEAR = (1, 3)
"""Slices of the volume, so those after ``z_step``."""


def localisation(
    boxes: Path,
    images: Path,
    volumes: Sequence[Path],
    tables: Sequence[OofTableFacts],
    predicted: pd.DataFrame,
    truth: pd.DataFrame,
    points: OperatingPoints | None,
) -> dict[str, Any]:
    """Compare the most suspicious slice, and the middle of the vertebra, with the nearest slice that has a box.

    Args:
        boxes: ``train_bounding_boxes.csv``.
        images: folder of the data set with a folder for each study, whose files are called by their slice's number.
        volumes: manifests of the half-size volumes.
        tables: facts of the out-of-fold tables.
        predicted: index study, a column of out-of-fold probabilities for each level.
        truth: index study, columns of 0 and 1.
        points: fixed out of fold; None: every fracture counts as found.

    Returns:
        ``n`` (looks of networks at found fractures), ``studies`` (of these), ``unreadable`` (studies whose marked
        slices cannot be placed) and for ``suspicious`` and ``middle`` each: ``mean_distance`` (slices) and
        ``within_1``, ``within_3``; None where ``n`` is 0.

    Raises:
        UserError: if a table or a record is damaged.
    """
    marked = read_boxes(boxes, set(truth.index)).groupby("StudyInstanceUID")["slice_number"]
    shelf = Shelf(volumes)
    looks: dict[str, list[tuple[float, float]]] = {}
    for facts in tables:
        for study, levels in facts.looks.items():
            single = study in marked.groups and truth.loc[study, list(LEVELS)].sum() == 1
            for level, look in levels.items() if single else ():
                if points is None or points.marks("youden", level, float(predicted[level][study])):
                    looks.setdefault(study, []).append(look)
    distances: list[NDArray[np.float64]] = []
    unreadable = 0
    for study, places in looks.items():
        affine = shelf.facts(study, VolumeFacts).affine_lps
        numbers = sorted({int(number) for number in marked.get_group(study)})
        slices = [place for number in numbers if (place := _slice_of(images / study, number, affine)) is not None]
        if not slices:
            unreadable += 1
            continue
        distances += [np.abs(np.array(slices)[:, None] - place).min(axis=0) for place in places]
    table = np.array(distances).reshape(-1, 2)
    sides = {"suspicious": table[:, 0], "middle": table[:, 1]}
    return {
        "n": len(table),
        "studies": len(looks) - unreadable,
        "unreadable": unreadable,
        **{name: _summary(values) if len(values) else None for name, values in sides.items()},
    }


def _summary(distances: NDArray[np.float64]) -> dict[str, float]:
    near = {f"within_{limit}": rounded((distances <= limit).mean()) for limit in NEAR}
    return {"mean_distance": rounded(distances.mean()), **near}


def _slice_of(folder: Path, number: int, affine: Any) -> float | None:
    """Return the slice of the volume that a file is on, between two where ``z_step`` leaves it out; None: unknown."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(
            folder / f"{number}.dcm", specific_tags=["ImagePositionPatient"], stop_before_pixels=True
        )
        position = [float(value) for value in header.ImagePositionPatient]
        place = np.linalg.inv(np.array(affine)) @ [*position, 1.0]
    except (OSError, InvalidDicomError, AttributeError, TypeError, ValueError):
        return None
    return float(place[0])
