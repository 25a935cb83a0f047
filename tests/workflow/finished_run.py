"""A data set of the smallest studies, a real run of every rule over it, and what the jobs say that they did."""

import re
import shutil
from collections import Counter

import nibabel
import numpy as np
import yaml

from benchmarks.tiny import PLAIN, tiny
from spine_models.levels import TARGETS
from tests.data.dicom_builder import write_stack
from tests.workflow.runs import ROOT, snakemake

PARTS = ["Snakefile", "config.yaml", "rules", "envs", "profiles", "spine_models", "workflow_scripts"]

STUDIES = [f"1.2.826.0.1.3680043.{number}" for number in range(1, 7)]
SEGMENTED = STUDIES[:4]
LABELS = {study: number % 2 for number, study in enumerate(STUDIES)}
SHARDS, SEGMENTATION_FOLDS, CLASSIFIERS = 2, 2, 3
SLICES, SIDE = 32, 40
CHANGES = {
    "output_dir": "results",
    "segmentation": {"training": {"epochs": 1, "draws_per_study": 8, "learning_rate": 1.0e-2}},
    "classification": {
        "training": {"global_batch": 4, "micro_batch": 4},
        "variants": {"ir": {"draws_per_study": 2}, "ip": {"draws_per_study": 2}},
    },
}


def overlay(*changes):
    """Return the configuration of the run, with further changes."""
    return tiny(PLAIN, CHANGES, *changes)


def run(project, work, *arguments, **environment):
    # The overlay last: a target that followed it would be taken for another overlay.
    return snakemake(*arguments, "--configfile", work / "overlay.yaml", directory=work, root=project, **environment)


def make_run(folder, environment, new_studies=0):
    """Copy the checkout to ``project``, make a data set in ``work`` and run every rule over it.

    Args:
        folder: for both.
        environment: variables for Snakemake.
        new_studies: how many studies to predict in ``new``; without any, nothing is predicted.
    """
    project, work = folder / "project", folder / "work"
    copy_project(project)
    make_data(work / "data")
    for number in range(new_studies):
        write_study(work / "new", f"1.2.826.0.1.3680043.9{number}", 90 + number, images="")
    predictions = {"predict_dir": "new", "prediction": {"shards": 2}} if new_studies else {}
    (work / "overlay.yaml").write_text(yaml.safe_dump(overlay(predictions)))
    process = run(project, work, "--cores", "2", **environment)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    return folder


def copy_project(project):
    """Copy what the workflow needs of the checkout."""
    project.mkdir(parents=True)
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, project / part)


def copy_run(source, target):
    """Copy a run with the times of its files and folders, by which changes are noticed."""
    shutil.copytree(source, target)
    return target / "project", target / "work"


def made(out):
    """Return rule to how much its jobs say that they made; nothing for rules that made nothing."""
    counts = Counter()
    for log in (out / "logs").rglob("*.log"):
        for rule, number in re.findall(r"^(\w+): (\d+) of \d+ \w+ made, \d+ reused", log.read_text(), re.MULTILINE):
            counts[rule] += int(number)
    return {rule: number for rule, number in counts.items() if number}


def make_data(folder):
    for number, study in enumerate(STUDIES):
        write_study(folder, study, number)
    write_labels(folder, LABELS)
    (folder / "segmentations").mkdir()
    for study in SEGMENTED:
        write_segmentation(folder, study)


def write_study(folder, study, number, images="train_images"):
    """Write a study of noise; ``number`` is its patient and seeds its pixels."""
    random = np.random.default_rng(number)
    pixels = random.integers(-1000, 1500, (SLICES, SIDE, SIDE)).astype("<i2")
    tags = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "PatientID": str(number)}
    write_stack(folder / images / study, SLICES, start=(0, 0, 100), pixels=lambda z: pixels[z], **tags)


def write_labels(folder, overall):
    rows = [f"{study},{','.join([str(value)] * 2 + ['0'] * 6)}" for study, value in overall.items()]
    (folder / "train.csv").write_text("\n".join([f"StudyInstanceUID,{','.join(TARGETS)}", *rows]) + "\n")


def write_segmentation(folder, study, levels=(3, 4, 5)):
    """Write a map without background: after a few steps already, a network calls something a vertebra."""
    values = np.zeros((SIDE, SIDE, SLICES), np.uint8)
    values[:] = np.repeat(levels, -(-SLICES // len(levels)))[:SLICES]
    affine = np.array([[-0.5, 0, 0, 0], [0, -0.5, 0, 0], [0, 0, -1, 100], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / "segmentations" / f"{study}.nii")
