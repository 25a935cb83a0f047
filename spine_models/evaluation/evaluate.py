"""One file with every figure of a run: ``evaluation/metrics.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spine_models.errors import UserError
from spine_models.evaluation.averages import Averaging
from spine_models.evaluation.dice import mean_dice, mean_dice_per_level
from spine_models.evaluation.ensemble import OofTableFacts, ensemble_of, read_predictions, read_table_facts
from spine_models.evaluation.grades import grade_scores, read_grades
from spine_models.evaluation.localisation import localisation
from spine_models.evaluation.operating_points import OperatingPoints
from spine_models.evaluation.scores import calibration, classification_scores, permuted_label_control, rounded
from spine_models.evaluation.segmentation_figures import PublishedFigures
from spine_models.evaluation.tables import FROM_CROPS, FROM_PRIOR, STUDY, read_csv
from spine_models.evaluation.thresholds import operating_points
from spine_models.evaluation.truth import read_truth
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.acceptance import acceptances_of
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.published_facts import read_facts
from spine_models.provenance.vouched import vouched

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of the evaluation.

    Attributes:
        seed: of the bootstrap and of the drawn permutations.
    """

    seed: int


@dataclass(frozen=True, kw_only=True)
class EvaluationInputs:
    """The files that an evaluation reads.

    Attributes:
        train_csv: true targets.
        folds: ``folds/classification.csv``.
        oof: out-of-fold predictions, one file a variant and fold.
        segmentation: ``metrics.json`` of each segmentation training; empty where a bundle's networks were used.
        averaging: ``classification/<variant>/fold<fold>/averaging.json`` of each classifier.
        quarantine: studies that were not used.
        grades: fractures of a phantom data set with their grade, or None for real studies.
        boxes: ``train_bounding_boxes.csv``, or None where the data set has none.
        images: the data set's ``train_images``, where the slices are that boxes are on.
        volumes: manifests of the half-size volumes, for the place of a slice.
        output_dir: of the run, whose acceptances the provenance names; None where there is no run.
    """

    train_csv: Path
    folds: Path
    oof: Sequence[Path]
    segmentation: Sequence[Path] = ()
    averaging: Sequence[Path]
    quarantine: Path
    grades: Path | None = None
    boxes: Path | None = None
    images: Path | None = None
    volumes: Sequence[Path] = ()
    output_dir: Path | None = None


def evaluate(inputs: EvaluationInputs, settings: EvaluationSettings, code: str) -> dict[str, Any]:
    """Compute every figure of a run.

    Args:
        inputs: the files.
        settings: the configuration.
        code: fingerprint of the code that evaluates.

    Returns:
        A JSON object with the keys ``segmentation``, ``classification``, ``averaging``, ``quarantine``,
        ``per_grade``, ``localisation`` (None without boxes), ``phantom``, ``notes`` and ``provenance``.

    Raises:
        UserError: if a file is missing or predictions and truth do not belong together.
    """
    truth = read_truth(inputs.train_csv)
    predictions = read_predictions(inputs.oof)
    unknown = sorted(set(predictions[STUDY]) - set(truth.index))
    if unknown:
        raise UserError(
            f"{inputs.train_csv} has no row for the predicted study {unknown[0]}: evaluate with the train.csv that the"
            " classifiers were trained with"
        )
    ensemble = ensemble_of(predictions)
    tables = read_table_facts(inputs.oof)
    points = _operating_points(ensemble, truth, tables, settings.seed)
    quarantine = read_csv(vouched(inputs.quarantine), ("study", "code"), "the rule collect_quarantine")
    folds = read_csv(vouched(inputs.folds), (STUDY, "fold"), "the rule make_folds")
    grades = read_grades(inputs.grades) if inputs.grades else {}
    return {
        "phantom": inputs.grades is not None,
        "segmentation": segmentation_scores(inputs.segmentation),
        "classification": _classification(ensemble, predictions, truth, settings.seed)
        | {"operating_points": None if points is None else points.to_json()},
        "localisation": localisation(inputs.boxes, inputs.images, inputs.volumes, tables, ensemble, truth, points)
        if inputs.boxes and inputs.images
        else None,
        "averaging": _averaging(inputs.averaging),
        "quarantine": {
            "n": quarantine["study"].nunique(),
            "by_code": dict(sorted(Counter(quarantine["code"]).items())),
        },
        "per_grade": grade_scores(ensemble, truth, grades, settings.seed) if grades else {},
        "notes": _notes(folds, ensemble),
        "provenance": {
            "inputs": _digests(inputs),
            "config": {"seed": settings.seed},
            "code": code,
            "accepted": acceptances_of(inputs.output_dir),
        },
    }


def segmentation_scores(paths: Sequence[Path]) -> dict[str, Any]:
    """Pool the validation studies of all segmentation folds; every study is validated by one fold.

    Args:
        paths: ``metrics.json`` of each fold, with ``per_study``: study to level to Dice.
    """
    tables = [read_facts(path, PublishedFigures).per_study for path in sorted(paths)]
    per_study = {study: levels for table in tables for study, levels in table.items()}
    studies = [{level: dice[level] for level in LEVELS if level in dice} for dice in per_study.values()]
    mean = mean_dice(studies)
    return {
        "dice_mean": None if mean is None else rounded(mean),
        "dice_per_class": {k: None if v is None else rounded(v) for k, v in mean_dice_per_level(studies).items()},
        "n_studies": len(studies),
    }


def _classification(
    ensemble: pd.DataFrame, predictions: pd.DataFrame, truth: pd.DataFrame, seed: int
) -> dict[str, Any]:
    targets = list(TARGETS)
    predicted = ensemble[targets].to_numpy(dtype=float)
    present = truth.loc[ensemble.index, targets].to_numpy(dtype=float)
    variants = {}
    for variant, rows in predictions.groupby("variant", sort=True):
        own = rows.sort_values(STUDY)
        known = truth.loc[own[STUDY], targets].to_numpy(dtype=float)
        variants[str(variant)] = classification_scores(own[targets].to_numpy(dtype=float), known, seed)
    return classification_scores(predicted, present, seed) | {
        "per_variant": variants,
        "permuted_label_control": permuted_label_control(predicted, present, seed),
        "calibration": {
            "patient_overall": calibration(predicted[:, 0], present[:, 0]),
            "vertebrae": calibration(predicted[:, 1:], present[:, 1:]),
        },
    }


def _operating_points(
    ensemble: pd.DataFrame, truth: pd.DataFrame, tables: Sequence[OofTableFacts], seed: int
) -> OperatingPoints | None:
    """Fix thresholds on the studies that have an answer of their own; None where that cannot be done."""
    if len({facts.flips for facts in tables}) != 1:
        return None
    answered, targets = ensemble[ensemble["source"] == FROM_CROPS], list(TARGETS)
    return operating_points(
        answered[targets].to_numpy(dtype=float),
        truth.loc[answered.index, targets].to_numpy(dtype=float),
        flips=tables[0].flips,
        precisions=sorted({precision for facts in tables for precision in facts.precisions}),
        seed=seed,
    )


def _averaging(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(paths):
        kept = read_facts(path, Averaging).to_json()
        del kept["epochs"]
        found.setdefault(path.parent.parent.name, {})[path.parent.name] = kept
    return found


def _notes(folds: pd.DataFrame, ensemble: pd.DataFrame) -> dict[str, int]:
    return {
        "studies_in_folds": len(folds),
        "studies_without_out_of_fold_prediction": len(set(folds[STUDY]) - set(ensemble.index)),
        "studies_with_prior_only": int((ensemble["source"] == FROM_PRIOR).sum()),
    }


def _digests(inputs: EvaluationInputs) -> dict[str, str]:
    single = [inputs.train_csv, inputs.folds, inputs.quarantine, *filter(None, (inputs.grades, inputs.boxes))]
    named = {path.name: path for path in single}
    for path in inputs.segmentation:
        named[f"segmentation/{path.parent.name}/{path.name}"] = path
    for path in [*inputs.oof, *inputs.averaging]:
        named[f"classification/{path.parent.parent.name}/{path.parent.name}/{path.name}"] = path
    return {name: digest_file(path) for name, path in sorted(named.items())}
