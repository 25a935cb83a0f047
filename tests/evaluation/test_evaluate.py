"""A whole evaluation on a small run's files."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from spine_models.errors import UserError
from spine_models.evaluation.competition import competition_loss, prior_loss
from spine_models.evaluation.evaluate import EvaluationSettings, evaluate
from spine_models.evaluation.tables import STUDY
from spine_models.evaluation.truth import read_truth
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.acceptance import Acceptance, write_acceptances
from spine_models.provenance.files import write_json
from tests.evaluation.conftest import STUDIES, labels

SETTINGS = EvaluationSettings(seed=7)
REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_promised_key(inputs):
    metrics = evaluate(inputs, SETTINGS, "code")
    assert set(metrics["segmentation"]) == {"dice_mean", "dice_per_class", "n_studies"}
    wanted = {"competition_loss", "prior_loss", "competition_loss_ci95", "auc", "n_studies", "per_variant"}
    assert wanted <= set(metrics["classification"])
    assert set(metrics["classification"]["auc"]) == set(TARGETS)
    assert set(metrics["classification"]["per_variant"]) == {"ir", "ip"}
    assert metrics["averaging"]["ir"]["fold1"] == {
        "best_single": 0.4, "averaged": 0.39, "greedy": None, "published": "averaged"
    }  # fmt: skip
    assert metrics["quarantine"] == {"n": 2, "by_code": {"no_images": 2}}
    assert metrics["phantom"] is True
    json.dumps(metrics, allow_nan=False)


def test_the_provenance_names_what_was_accepted_in_the_run(inputs, tmp_path):
    assert evaluate(inputs, SETTINGS, "code")["provenance"]["accepted"] == []
    line = Acceptance("train_segmentation", "new", "old", ("spine_models.models.losses",), "renamed")
    write_acceptances(tmp_path, [line])
    accepted = evaluate(dataclasses.replace(inputs, output_dir=tmp_path), SETTINGS, "code")["provenance"]["accepted"]
    assert accepted == [dataclasses.asdict(line)]


def test_segmentation_pools_the_folds(inputs):
    # Study means (0.5 + 0.7) / 2 = 0.6 and (0.8 + 0.7) / 2 = 0.75; C1 (0.5 + 0.8) / 2 = 0.65.
    segmentation = evaluate(inputs, SETTINGS, "")["segmentation"]
    assert segmentation["dice_mean"] == pytest.approx(0.675)
    assert segmentation["dice_per_class"]["C1"] == pytest.approx(0.65)
    assert segmentation["dice_per_class"]["C3"] is None
    assert segmentation["n_studies"] == 2


def test_ensemble_is_the_mean_over_the_variants_that_predicted_a_study(inputs):
    tables = {path.parent.parent.name + path.parent.name: pd.read_csv(path) for path in inputs.oof}
    both = tables["irfold0"].set_index(STUDY)[list(TARGETS)].add(tables["ipfold0"].set_index(STUDY)[list(TARGETS)]) / 2
    expected = pd.concat([both, tables["irfold1"].set_index(STUDY)[list(TARGETS)]])
    truth = read_truth(inputs.train_csv).loc[expected.index]
    classification = evaluate(inputs, SETTINGS, "")["classification"]
    assert classification["competition_loss"] == pytest.approx(competition_loss(expected, truth), abs=1e-6)
    assert classification["prior_loss"] == pytest.approx(prior_loss(truth), abs=1e-6)
    assert classification["n_studies"] == 12
    assert classification["per_variant"]["ip"]["n_studies"] == 6


def test_studies_without_prediction_are_counted(inputs):
    notes = evaluate(inputs, SETTINGS, "")["notes"]
    assert notes == {
        "studies_in_folds": 24, "studies_without_out_of_fold_prediction": 12, "studies_with_prior_only": 0
    }  # fmt: skip


def test_grades(inputs):
    per_grade = evaluate(inputs, SETTINGS, "")["per_grade"]
    predicted = STUDIES[0::4] + STUDIES[1::4]
    truth = labels().loc[predicted, list(LEVELS)]
    assert set(per_grade) == {"subtle", "obvious"}
    assert sum(grade["n_vertebrae"] for grade in per_grade.values()) == truth.to_numpy().sum()
    for grade in per_grade.values():
        low, high = grade["auc_ci95"]
        assert grade["auc"] > 0.9 and low <= grade["auc"] <= high


def test_without_grades_and_without_segmentation_training(inputs):
    metrics = evaluate(dataclasses.replace(inputs, grades=None, segmentation=[]), SETTINGS, "")
    assert metrics["phantom"] is False
    assert metrics["per_grade"] == {}
    assert metrics["segmentation"]["dice_mean"] is None
    assert metrics["segmentation"]["n_studies"] == 0


def test_a_target_with_one_class_has_no_auc(inputs):
    truth = pd.read_csv(inputs.train_csv)
    truth["C3"] = 0
    truth["patient_overall"] = truth[list(LEVELS)].max(axis=1)
    truth.to_csv(inputs.train_csv, index=False)
    classification = evaluate(inputs, SETTINGS, "")["classification"]
    assert classification["auc"]["C3"] is None and classification["auc_ci95"]["C3"] is None
    assert classification["positives"]["C3"] == 0


def test_mistakes_are_sentences(inputs):
    truth = pd.read_csv(inputs.train_csv)
    truth.iloc[1:].to_csv(inputs.train_csv, index=False)
    with pytest.raises(UserError, match=rf"no row for the predicted study {STUDIES[0]}"):
        evaluate(inputs, SETTINGS, "")
    truth.drop(columns="C4").to_csv(inputs.train_csv, index=False)
    with pytest.raises(UserError, match="lacks the column C4"):
        evaluate(inputs, SETTINGS, "")
    truth.to_csv(inputs.train_csv, index=False)
    twice = dataclasses.replace(inputs, oof=[inputs.oof[0], inputs.oof[0]])
    with pytest.raises(UserError, match="predicted twice by the variant ir"):
        evaluate(twice, SETTINGS, "")
    with pytest.raises(UserError, match=r"nowhere\.csv is missing"):
        evaluate(dataclasses.replace(inputs, quarantine=Path("nowhere.csv")), SETTINGS, "")


def test_the_script_writes_the_same_bytes_in_another_process(inputs, tmp_path):
    out = tmp_path / "metrics.json"
    command = [sys.executable, str(REPOSITORY / "workflow_scripts/evaluate.py"), "--config", '{"seed": 7}']
    command += ["--code", "code", "--train-csv", str(inputs.train_csv), "--folds", str(inputs.folds), "--oof"]
    command += [*map(str, inputs.oof), "--segmentation", *map(str, inputs.segmentation), "--averaging"]
    command += [*map(str, inputs.averaging), "--quarantine", str(inputs.quarantine)]
    command += ["--grades", str(inputs.grades), "--out", str(out)]
    subprocess.run(command, check=True, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)})
    metrics = evaluate(inputs, SETTINGS, "code")
    assert metrics["provenance"]["inputs"]["classification/ip/fold0/oof.csv"]
    write_json(tmp_path / "here.json", metrics)
    assert out.read_bytes() == (tmp_path / "here.json").read_bytes()
