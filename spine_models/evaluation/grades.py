"""Results by the grade of a phantom's fractures: how visible they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spine_models.evaluation.competition import Floats
from spine_models.evaluation.scores import area_under_curve, auc_interval, rounded
from spine_models.evaluation.tables import STUDY, read_csv
from spine_models.levels import LEVELS
from spine_models.provenance.vouched import vouched_if_ours

if TYPE_CHECKING:
    import pandas as pd

SPECIFICITY = 0.9
"""Sensitivity is stated at the threshold that this share of the unfractured vertebrae stays below."""


def read_grades(path: Path) -> dict[tuple[str, str], str]:
    """Read a phantom's table of fractures: (study, level) to grade; levels without a fracture are left out."""
    columns = (STUDY, "level", "grade")
    frame = read_csv(vouched_if_ours(path), columns, "the rule generate_phantom")
    graded = frame.dropna(subset=["grade"])
    return {(study, level): grade for study, level, grade in zip(*(graded[name] for name in columns), strict=True)}


def grade_scores(
    predictions: pd.DataFrame, truth: pd.DataFrame, grades: dict[tuple[str, str], str], seed: int
) -> dict[str, dict[str, Any]]:
    """Compare the fractured vertebrae of each grade with all vertebrae that have no fracture.

    Args:
        predictions: index study, a column of probabilities for each level.
        truth: the same index, columns of 0 and 1.
        grades: (study, level) to grade.
        seed: of the bootstrap.

    Returns:
        For each grade: ``n_vertebrae``, ``mean_probability``, ``auc``, ``auc_ci95`` (studies are drawn, not vertebrae)
        and ``sensitivity_at_90_specificity`` against the unfractured vertebrae of the same studies' table; None where
        there is nothing to compare with.
    """
    probabilities = predictions[list(LEVELS)].to_numpy(dtype=np.float64)
    fractured = truth.loc[predictions.index, list(LEVELS)].to_numpy() == 1
    grade_of = np.array([[grades.get((study, level), "") for level in LEVELS] for study in predictions.index])
    names = sorted(set(grades.values()))
    return {name: _against(probabilities, fractured & (grade_of == name), ~fractured, seed) for name in names}


def _against(
    probabilities: Floats, of_grade: NDArray[np.bool_], unfractured: NDArray[np.bool_], seed: int
) -> dict[str, Any]:
    graded, intact = probabilities[of_grade], probabilities[unfractured]
    result: dict[str, Any] = {"n_vertebrae": len(graded)}
    comparable = bool(len(graded) and len(intact))
    threshold = np.quantile(intact, SPECIFICITY) if comparable else np.nan
    scores = np.concatenate([graded, intact])
    present = np.repeat([1, 0], [len(graded), len(intact)])
    studies = np.concatenate([np.nonzero(of_grade)[0], np.nonzero(unfractured)[0]])
    return result | {
        "mean_probability": rounded(graded.mean()) if len(graded) else None,
        "auc": area_under_curve(scores, present) if comparable else None,
        "auc_ci95": auc_interval(scores, present, studies, seed) if comparable else None,
        "sensitivity_at_90_specificity": rounded((graded > threshold).mean()) if comparable else None,
    }
