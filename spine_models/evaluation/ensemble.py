"""Out-of-fold predictions of all variants and folds, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spine_models.errors import UserError
from spine_models.evaluation.aggregate import mean_over_models
from spine_models.evaluation.tables import FROM_CROPS, FROM_PRIOR, OOF_COLUMNS, STUDY, read_csv
from spine_models.levels import TARGETS
from spine_models.provenance.facts import Facts
from spine_models.provenance.records import read_record
from spine_models.provenance.vouched import record_path, vouched

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OofTableFacts(Facts):
    """How an out-of-fold table was predicted, and where its networks look; the facts of its record.

    Attributes:
        flips: of crops, whose probabilities were averaged.
        precisions: in which networks computed.
        looks: study to fractured level to the most suspicious slice and the middle of the level, on the volume's
            slices.
    """

    flips: tuple[str, ...]
    precisions: tuple[str, ...]
    looks: dict[str, dict[str, tuple[float, float]]]


def read_table_facts(paths: Sequence[Path]) -> list[OofTableFacts]:
    """Return the facts of several tables; none where an older release wrote one of them."""
    found = [read_record(record_path(path)).facts for path in sorted(paths)]
    return [OofTableFacts.from_json(facts) for facts in found] if all(found) else []


def read_predictions(paths: Sequence[Path]) -> pd.DataFrame:
    """Read out-of-fold predictions of several variants and folds into one table with ``OOF_COLUMNS``.

    Raises:
        UserError: if a file cannot be read or two of them predict a study with the same variant.
    """
    import pandas as pd

    if not paths:
        raise UserError("no out-of-fold predictions were given: run `snakemake classification` first")
    frames = [read_csv(vouched(path), OOF_COLUMNS, "the rule predict_oof")[list(OOF_COLUMNS)] for path in sorted(paths)]
    table = pd.concat(frames, ignore_index=True)
    twice = table.duplicated([STUDY, "variant"])
    if twice.any():
        row = table[twice].iloc[0]
        raise UserError(
            f"the study {row[STUDY]} is predicted twice by the variant {row['variant']}: its folds overlap, remove"
            " the out-of-fold tables of an earlier split"
        )
    return table


def ensemble_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Average the variants that predicted a study: index StudyInstanceUID (sorted), columns TARGETS and ``source``.

    ``source`` is ``crops`` if any variant saw a crop of the study, ``prior`` otherwise.
    """
    import pandas as pd

    rows = {
        study: mean_over_models(list(group[list(TARGETS)].to_numpy(dtype=np.float64)))
        for study, group in predictions.groupby(STUDY, sort=True)
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS))
    seen = predictions.loc[predictions["source"] == FROM_CROPS, STUDY].unique()
    table["source"] = np.where(table.index.isin(seen), FROM_CROPS, FROM_PRIOR)
    table.index.name = STUDY
    return table
