"""What is true of each study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spine_models.data.dataset.tables import read_train
from spine_models.evaluation.tables import STUDY
from spine_models.levels import TARGETS

if TYPE_CHECKING:
    import pandas as pd


def read_truth(path: Path) -> pd.DataFrame:
    """Read ``train.csv``: index StudyInstanceUID, columns ``levels.TARGETS`` of 0 and 1.

    Raises:
        UserError: as ``data.dataset.tables.read_train``.
    """
    return read_train(path).set_index(STUDY)[list(TARGETS)]
