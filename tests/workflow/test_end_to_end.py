"""One run of every rule on phantoms, and what must be there afterwards."""

import csv
import json
import os
import re

import pytest

from benchmarks.tiny import TINY
from tests.workflow.runs import snakemake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny_run")]
LEVELS = [f"C{n}" for n in range(1, 8)]
CLASSIFIERS = [("ir", 0), ("ir", 1), ("ip", 0)]


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_one_worker_makes_the_run_for_all(request):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("no workers: run by one process")
    # pytest-xdist 3.8.0 loses its groups without a word under pytest 9.2; every worker then makes a run of its own.
    assert request.node.nodeid.endswith("@tiny_run")


def test_every_output_is_there(tiny_run):
    out = tiny_run[0] / "tiny"
    expected = [
        *(f"segmentation/fold{fold}/model.safetensors" for fold in (0, 1)),
        *(f"classification/{v}/fold{f}/{name}" for v, f in CLASSIFIERS for name in ("model.safetensors", "oof.csv")),
        *("evaluation/metrics.json", "bundle/bundle.json", "report/index.html"),
        *("predictions/predictions.csv", "predictions/submission.csv", "predictions/index.html"),
    ]
    assert [name for name in expected if not (out / name).is_file() or not (out / name).stat().st_size] == []


def test_metrics_hold_every_key(tiny_run):
    metrics = json.loads((tiny_run[0] / "tiny/evaluation/metrics.json").read_text())
    assert {"dice_mean", "dice_per_class", "n_studies"} <= metrics["segmentation"].keys()
    assert list(metrics["segmentation"]["dice_per_class"]) == LEVELS
    keys = {"competition_loss", "prior_loss", "competition_loss_ci95", "auc", "n_studies", "per_variant"}
    assert keys <= metrics["classification"].keys()
    assert set(metrics["classification"]["auc"]) == {"patient_overall", *LEVELS}
    for variant, fold in CLASSIFIERS:
        assert {"best_single", "averaged"} <= metrics["averaging"][variant][f"fold{fold}"].keys()
    assert metrics["quarantine"]["n"] == sum(metrics["quarantine"]["by_code"].values()) == 1


def test_the_quarantine_names_the_defective_study(tiny_run):
    out = tiny_run[0] / "tiny"
    defective = {r["StudyInstanceUID"] for r in rows(out / "phantom/phantom.csv") if r["split"] == "defective"}
    assert defective == {r["study"] for r in rows(out / "index/quarantine.csv")}


def test_the_submission_has_every_row_of_the_test_table(tiny_run):
    out = tiny_run[0] / "tiny"
    submission = rows(out / "predictions/submission.csv")
    assert [r["row_id"] for r in submission] == [r["row_id"] for r in rows(out / "phantom/test.csv")]
    assert all(0 < float(r["fractured"]) < 1 for r in submission)


def test_the_report_refers_to_nothing_outside(tiny_run):
    page = (tiny_run[0] / "tiny/report/index.html").read_text()
    assert re.findall(r"""(?:src|href)=["']?(?!data:|#)[^"'\s>]+""", page) == []


def test_a_second_run_has_nothing_to_do(tiny_run):
    process = snakemake("--cores", "2", "--configfile", TINY, directory=tiny_run[0])
    assert process.returncode == 0, process.stderr
    assert "Nothing to be done" in process.stdout + process.stderr
