"""Published checkpoints from the import to predictions and to a fine-tuned network, by command and by Snakemake."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tiny_data
from benchmarks.chaos import command, lay_out, results
from spine_models.data.dataset.study_tokens import TRAINING_STUDIES, study_token
from spine_models.data.phantom.dataset import generate_dataset
from spine_models.data.phantom.settings import PhantomSettings
from spine_models.inference.bundle import load_bundle
from spine_models.models.weights import load_state
from tests.models.solution_networks import SolutionClassifier, SolutionUNet, randomised, save_checkpoint
from tests.workflow.runs import ROOT, snakemake
from tests.workflow.test_kills import at_a_point

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("published")]
SEGMENTATION = "chaos/segmentation/fold0/model.safetensors"
CLASSIFIER = "chaos/classification/ip/fold0/model.safetensors"
FILTERS = (4, 6, 12, 16)
NETWORK = {"decoder_channels": [16, 12, 6, 4, 4], "last_block": "full"}


def spine_models(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the console command on one thread, as the workflow does."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "spine_models", *map(str, arguments)]
    return subprocess.run(words, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    """Random weights in the published forms, under names that say nothing, and a table of studies of nobody here."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(folder / "0", randomised(SolutionUNet(4, FILTERS, 4), seed=1), "best")
    save_checkpoint(folder / "1", randomised(SolutionClassifier("ir", 50, base=4), seed=2), "averaged")
    save_checkpoint(folder / "2.pth", randomised(SolutionClassifier("ip", 50, base=4), seed=3), "training")
    return folder


def imported(checkpoints: Path, out: Path, studies: list[str], *options: object) -> Path:
    """Import the checkpoints; ``studies`` are those that they learnt from."""
    table = out.with_suffix(".csv")
    table.write_text("\n".join(["cube_id,fold", *(f"{study},0" for study in studies)]) + "\n")
    done = spine_models("import-published", checkpoints, "--out", out, "--folds", table, "--seg-folds", table, *options)
    assert done.returncode == 0, done.stderr
    assert "yours to check" in done.stdout
    return out


def test_an_imported_bundle_predicts_the_same_by_command_and_by_snakemake(checkpoints, jobs, tmp_path):
    bundle = imported(checkpoints, tmp_path / "bundle", ["7.7.1"])
    settings = PhantomSettings(
        studies=1, segmented=0, test_studies=2, defective=0, matrix=96, field_of_view_mm=84.0, slice_mm=5.0
    )
    generate_dataset(tmp_path / "phantom", settings, seed=3)
    studies, command_out = tmp_path / "phantom" / "test_images", tmp_path / "by-command"
    done = spine_models(
        *("predict", "--bundle", bundle, "--studies", studies, "--out", command_out, "--device", "cpu", "--threads", 1)
    )
    # What random weights call vertebrae is no spine.
    assert done.returncode == 3, done.stderr
    words = [f"predict_dir={studies}", f"bundle={bundle}", "output_dir=run", "device=cpu", "math_threads=1"]
    process = snakemake("--cores", "2", "predict", "--config", *words, directory=tmp_path, **jobs)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    workflow_out = tmp_path / "run" / "predictions"
    for name in ("predictions.csv", "submission.csv"):
        assert (workflow_out / name).read_bytes() == (command_out / name).read_bytes()
    with (command_out / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["status"] for row in rows} == {"implausible"}
    assert len(rows) == 2
    with (command_out / "submission.csv").open() as stream:
        assert len({row["fractured"] for row in csv.DictReader(stream)}) > 1
    for row in rows:
        name = f"{row['StudyInstanceUID']}_mask.nii.gz"
        (mask,) = workflow_out.glob(f"*/{name}")
        assert mask.read_bytes() == (command_out / "studies" / name).read_bytes()


def tuned(folder: Path, bundle: Path) -> None:
    """Lay out the tiny preset so that both trainings start from the bundle."""
    variants = {"ip": {"draws_per_study": 8}, "ir": {"folds": 0, "average": 1}}
    changes = {
        "init_bundle": str(bundle),
        "keep_best": 2,
        "segmentation": {"network": NETWORK, "training": {"epochs": 1}},
        "classification": {"training": {"epochs": 2}, "variants": variants},
    }
    lay_out(folder, changes)


def run(folder: Path, *targets: str, **variables: str) -> subprocess.CompletedProcess[str]:
    words = command(folder, "--", *targets)
    env = os.environ | variables
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, env=env)


def test_a_bundle_is_fine_tuned_and_a_killed_training_ends_with_the_same_bytes(checkpoints, jobs, tmp_path):
    bundle = imported(checkpoints, tmp_path / "bundle", ["7.7.1"])
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    for folder in (calm, stormy):
        folder.mkdir()
        tuned(folder, bundle)
    done = run(calm, SEGMENTATION, CLASSIFIER, **jobs)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    for script, target in (("train_segmentation", SEGMENTATION), ("train_classifier", CLASSIFIER)):
        killed = run(stormy, target, **jobs, **at_a_point(stormy, script, "/checkpoint.ckpt", 3))
        assert killed.returncode != 0
        # The job came to the point, and did not end for another reason.
        (stormy / "mark").unlink()
    done = run(stormy, SEGMENTATION, CLASSIFIER, **jobs)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert results(stormy / "chaos") == results(calm / "chaos")
    files = load_bundle(bundle)
    started = {SEGMENTATION: files.segmentation[0], CLASSIFIER: files.classification[1]}
    for target, entry in started.items():
        provenance = load_state(calm / target)[1]["provenance"]
        assert provenance["inputs"]["initial"] == entry.sha256
        assert study_token("7.7.1") in provenance[TRAINING_STUDIES]


def test_a_bundle_that_learnt_from_a_held_out_study_trains_nothing(checkpoints, jobs, tmp_path):
    bundle = imported(checkpoints, tmp_path / "bundle", [tiny_data.STUDIES[0]])
    (tmp_path / "work").mkdir()
    tuned(tmp_path / "work", bundle)
    done = run(tmp_path / "work", SEGMENTATION, **jobs)
    assert done.returncode != 0
    log = (tmp_path / "work/chaos/logs/train_segmentation/0.log").read_text()
    assert f"learnt from {tiny_data.STUDIES[0]}, by which this fold of the segmentation is judged" in log
    assert not (tmp_path / "work" / SEGMENTATION).exists()
