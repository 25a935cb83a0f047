"""A data set without fractures: the segmentation is trained, and its bundle makes masks."""

import csv
import subprocess
import sys

import pytest
import yaml

from spine_models.commands.status import status_of
from spine_models.inference.bundle import load_bundle
from tests.workflow.finished_run import SEGMENTED, copy_project, make_data, overlay, run, write_study

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def ended(tmp_path_factory, jobs):
    folder = tmp_path_factory.mktemp("masks")
    project, work = folder / "project", folder / "work"
    copy_project(project)
    make_data(work / "data")
    (work / "data/train.csv").unlink()
    (work / "overlay.yaml").write_text(yaml.safe_dump(overlay()))
    write_study(work / "new", "1.2.826.0.1.3680043.90", 90, images="")
    return project, work, jobs, run(project, work, "mask_bundle", "--cores", "2", **jobs)


def test_the_bundle_knows_what_it_learnt_from_and_judges_nothing(ended):
    _, work, _, process = ended
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    bundle = load_bundle(work / "results/mask_bundle")
    assert (bundle.classification, bundle.prior, bundle.operating_points) == ((), None, None)
    assert bundle.training_data.studies == bundle.provenance["training_studies"] == len(SEGMENTED)
    card = (work / "results/mask_bundle/model_card.md").read_text()
    assert "It judges no fractures." in card
    assert (work / "results/index/quarantine.csv").read_text() == "study,stage,code,reason\n"


def test_the_status_of_the_run(ended):
    _, work, _, _ = ended
    said = status_of(work / "results")
    assert said.startswith("run         finished; it began 20")
    rows = {line.split()[0]: line.split()[1:5] for line in said.splitlines() if line.count(" 0 ") >= 2}
    assert rows["train_segmentation"] == ["2", "0", "0", "0"]
    assert rows["export_mask_bundle"] == ["1", "0", "0", "0"]
    assert "train_classifier" not in said


def test_why_jobs_would_run_is_said_in_words(ended):
    _, work, _, _ = ended

    def why(*arguments):
        command = [sys.executable, "-m", "spine_models", "why", "results", "--", "mask_bundle"]
        words = ["--configfile", "overlay.yaml", *arguments]
        process = subprocess.run([*command, *words], cwd=work, capture_output=True, text=True, check=True)
        return process.stdout.splitlines()

    assert why() == ["nothing would run"]
    first, second, *_, last = why("--config", "z_step=1")
    assert (first, second) == ("convert_volumes (2 jobs):", "  z_step is 1; it was 2")
    assert last.startswith("because those run, as far as their results differ: convert_labels (2), ")


def test_it_predicts_masks(ended):
    project, work, environment, _ = ended
    process = run(
        project,
        work,
        "predict",
        *("--cores", "2", "--config", "bundle=results/mask_bundle", "predict_dir=new", "output_dir=predicted"),
        **environment,
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    with (work / "predicted/predictions/predictions.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["status"] in ("segmented", "implausible", "prior")
    assert row["patient_overall"] == ""


def test_what_learns_fractures_says_that_the_table_is_missing(ended):
    project, work, _, _ = ended
    process = run(project, work, "-n")
    assert process.returncode == 1
    said = process.stdout + process.stderr
    assert "dataset_dir data lacks train.csv: it must contain" in said
    assert "`snakemake mask_bundle` trains without fractures" in said
    assert "Traceback" not in said
