"""Tables with one row per study: their columns, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spine_models.errors import UserError
from spine_models.levels import TARGETS

if TYPE_CHECKING:
    import pandas as pd

STUDY = "StudyInstanceUID"
OOF_COLUMNS: tuple[str, ...] = (STUDY, "variant", "fold", *TARGETS, "levels_visible", "source")
FROM_CROPS = "crops"
FROM_PRIOR = "prior"
MASK_ALONE = "mask"
"""``source`` of a prediction: the study's crops, the training prior where the study has none, or nothing but the mask,
where there are no classifiers."""


def read_csv(path: Path, columns: Sequence[str], made_by: str) -> pd.DataFrame:
    """Read a CSV with at least ``columns``; StudyInstanceUIDs stay text.

    Args:
        path: the file.
        columns: the columns that it must have.
        made_by: what makes such a file, for the sentence of the error.

    Raises:
        UserError: if the file is missing, is not a CSV or lacks a column.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype={STUDY: str, "variant": str, "source": str, "study": str, "group": str})
    except (OSError, ValueError):
        raise UserError(f"{path} is missing or not a CSV file: {made_by} makes it") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise UserError(f"{path} has no column {missing[0]}: it must have {', '.join(columns)}; {made_by} makes it")
    return frame
