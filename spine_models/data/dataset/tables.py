"""The data set's tables, checked before anything relies on them: each mistake is named with its line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandera.pandas as pa

from spine_models.data.dataset.delimited import read_delimited
from spine_models.data.dataset.uids import is_uid
from spine_models.errors import UserError
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.canonical import digest_json
from spine_models.provenance.vouched import vouched_if_ours
from spine_models.schema_check import shown

if TYPE_CHECKING:
    import pandas as pd

_UID = pa.Column(str, pa.Check(is_uid, element_wise=True, error="a UID (digits and dots, at most 64 characters)"))
_BIT = pa.Column(str, pa.Check.isin(["0", "1", "0.0", "1.0"], error="0 or 1"))
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""What counts as a number; ``float`` takes 1_5 for 15, too."""


def _is_number(text: str) -> bool:
    return _DECIMAL.fullmatch(text) is not None and -1e9 < float(text) < 1e9


def _is_positive(text: str) -> bool:
    return _is_number(text) and float(text) > 0


def _is_fold(text: str) -> bool:
    return _is_number(text) and float(text) >= 0 and float(text).is_integer()


_NUMBER = pa.Column(str, pa.Check(_is_number, element_wise=True, error="a number"))
_POSITIVE = pa.Column(str, pa.Check(_is_positive, element_wise=True, error="a number above 0"))
_TRAIN = pa.DataFrameSchema({"StudyInstanceUID": _UID, **dict.fromkeys(TARGETS, _BIT)})
_BOXES = pa.DataFrameSchema(
    {
        "StudyInstanceUID": _UID,
        "x": _NUMBER,
        "y": _NUMBER,
        "width": _POSITIVE,
        "height": _POSITIVE,
        "slice_number": _NUMBER,
    }
)
_TEST = pa.DataFrameSchema(
    {
        "row_id": pa.Column(str),
        "StudyInstanceUID": _UID,
        "prediction_type": pa.Column(str, pa.Check.isin(list(TARGETS), error=f"one of {', '.join(TARGETS)}")),
    }
)

_FOLD = pa.Column(str, pa.Check(_is_fold, element_wise=True, error="a whole number, at least 0"))
_LEVEL = pa.Column(str, pa.Check.isin(["0", "1", "0.0", "1.0"], error="0 or 1"), required=False)
_SOLUTION_FOLDS = pa.DataFrameSchema({"cube_id": _UID, "fold": _FOLD, **dict.fromkeys(LEVELS, _LEVEL)})


def read_planned_train(path: Path, listed: str) -> pd.DataFrame:
    """Read ``train.csv`` where it still lists the studies that it did when the workflow was planned.

    Without the file, which a data set without fractures lacks, the table is empty.

    Args:
        path: the table.
        listed: digest of the sorted studies then; "" where nobody looked.

    Raises:
        UserError: if it lists others, or as ``read_train``.
    """
    table = read_train(path) if path.is_file() else _no_rows()
    if listed and digest_json(sorted(table["StudyInstanceUID"])) != listed:
        raise UserError(
            f"{path} changed after the workflow had looked at it: see that it is whole, then run the same command again"
        )
    return table


def _no_rows() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"StudyInstanceUID": pd.Series(dtype=str), **{t: pd.Series(dtype=int) for t in TARGETS}})


def read_train(path: Path) -> pd.DataFrame:
    """Read ``train.csv``: StudyInstanceUID and the eight targets as integers 0 or 1, in the order of the file.

    Raises:
        UserError: naming the line, for a missing column, a value that is not 0 or 1, a study that occurs twice, or a
            ``patient_overall`` that contradicts the levels.
    """
    raw = _read(path, _TRAIN)
    _require_unique(path, raw, "StudyInstanceUID")
    table = raw[["StudyInstanceUID", *TARGETS]].copy()
    for target in TARGETS:
        table[target] = table[target].astype(float).astype(int)
    levels = table[list(TARGETS[1:])].max(axis=1)
    wrong = table.index[table["patient_overall"] != levels]
    if len(wrong):
        overall, level = int(table["patient_overall"][wrong[0]]), int(levels[wrong[0]])
        raise UserError(
            f"{path} line {wrong[0]}: patient_overall is {overall}, but the largest of C1 to C7 is {level}: correct one"
        )
    return table.reset_index(drop=True)


def read_boxes(path: Path, studies: set[str]) -> pd.DataFrame:
    """Read ``train_bounding_boxes.csv`` (pixels of the original slices; slice_number is the file's number).

    Args:
        path: the table.
        studies: those of ``train.csv``.

    Raises:
        UserError: naming the line, for a missing column, a value that is not a number or a study not in ``studies``.
    """
    raw = _read(path, _BOXES)
    unknown = raw.index[~raw["StudyInstanceUID"].isin(list(studies))]
    if len(unknown):
        study = raw["StudyInstanceUID"][unknown[0]]
        raise UserError(f"{path} line {unknown[0]}: study {study} is not in train.csv: remove the line")
    numbers = ["x", "y", "width", "height", "slice_number"]
    table = raw[["StudyInstanceUID", *numbers]].copy()
    table[numbers] = table[numbers].astype(float)
    return table.reset_index(drop=True)


def read_test(path: Path) -> pd.DataFrame:
    """Read ``test.csv``: row_id, StudyInstanceUID, prediction_type, in the order of the file.

    Raises:
        UserError: naming the line, for a missing column, an unknown prediction type, a row that occurs twice or a
            ``row_id`` that is not ``<StudyInstanceUID>_<prediction_type>``.
    """
    raw = _read(path, _TEST)
    _require_unique(path, raw, "row_id")
    expected = raw["StudyInstanceUID"] + "_" + raw["prediction_type"]
    wrong = raw.index[raw["row_id"] != expected]
    if len(wrong):
        raise UserError(f"{path} line {wrong[0]}: row_id is not {_cut(expected[wrong[0]])}: correct it")
    table: pd.DataFrame = raw[["row_id", "StudyInstanceUID", "prediction_type"]]
    return table.reset_index(drop=True)


def read_series(path: Path) -> dict[str, str]:
    """Read which series of which study a person chose: columns study and series, both UIDs.

    Raises:
        UserError: naming the line, for a missing column, a value that is not a UID or a study that occurs twice.
    """
    raw = _read(path, pa.DataFrameSchema({"study": _UID, "series": _UID}))
    _require_unique(path, raw, "study")
    return dict(zip(raw["study"], raw["series"], strict=True))


def read_folds(path: Path, parts: int) -> dict[str, int]:
    """Read a user's table of folds: StudyInstanceUID and fold, 0 to ``parts - 1``.

    Raises:
        UserError: naming the line, for a missing column, a fold out of range or a study that occurs twice.
    """
    folds = [str(part) for part in range(parts)]
    fold = pa.Column(str, pa.Check.isin(folds, error=f"a whole number from 0 to {parts - 1}"))
    raw = _read(path, pa.DataFrameSchema({"StudyInstanceUID": _UID, "fold": fold}))
    _require_unique(path, raw, "StudyInstanceUID")
    return {str(study): int(part) for study, part in zip(raw["StudyInstanceUID"], raw["fold"], strict=True)}


def read_solution_folds(path: Path) -> pd.DataFrame:
    """Read a fold table of the published solution: index ``cube_id`` (a study), column ``fold``.

    Where the table has the columns C1 to C7, those and ``patient_overall``, their maximum, are in the result too.

    Raises:
        UserError: naming the line, for a missing column, a value that cannot be used or a study that occurs twice.
    """
    raw = _read(path, _SOLUTION_FOLDS)
    _require_unique(path, raw, "cube_id")
    raw = raw.set_index("cube_id")
    if not set(LEVELS) <= set(raw.columns):
        return raw[["fold"]].astype(float).astype(int)
    table: pd.DataFrame = raw[["fold", *LEVELS]].astype(float).astype(int)
    table["patient_overall"] = table[list(LEVELS)].max(axis=1)
    return table


def _read(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a table as text, indexed by the line in the file, and check its values."""
    raw = read_delimited(vouched_if_ours(path), [name for name, column in schema.columns.items() if column.required])
    try:
        schema.validate(raw, lazy=True)
    except pa.errors.SchemaErrors as errors:
        case = errors.failure_cases.sort_values("index", kind="stable").iloc[0]
        raise UserError(
            f"{path} line {case['index']}: {case['column']} is {shown(case['failure_case'])}, it must be "
            f"{case['check']}"
        ) from None
    return raw


def _require_unique(path: Path, table: pd.DataFrame, column: str) -> None:
    again = table.index[table[column].duplicated()]
    if len(again):
        value = _cut(table[column][again[0]])
        raise UserError(f"{path} line {again[0]}: {column} {value} occurs a second time: remove one")


def _cut(text: str) -> str:
    """Return a cell as a sentence can hold it."""
    return text if len(text) <= 150 else f"{text[:147]}..."
