"""What a change costs: the jobs that a dry run plans after it. The table in docs/reruns.md is this one.

The finished run is made of empty files and Snakemake's own record of them (``--touch``): planning looks at nothing
else. What is really redone inside a planned job is tested where the work is done.
"""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.runs import ROOT, data_set, planned, snakemake

SHARDS, SEGMENTATION_FOLDS, CLASSIFIERS = 2, 2, 3
OVERLAY = {
    "dataset_dir": "data",
    "pretrained": "none",
    "shards": SHARDS,
    "segmentation": {"gpus": 0, "folds": SEGMENTATION_FOLDS},
    "classification": {"gpus": 0, "folds": 2, "variants": {"ip": {"folds": 1}}},
}
PARTS = ["Snakefile", "config.yaml", "rules", "envs", "spine_models", "workflow_scripts"]
STUDY = "1.2.826.0.1.3680043.1"
# Rule to the rules whose outputs it reads.
READS = {
    "index_studies": [],
    "convert_volumes": ["index_studies"],
    "convert_labels": ["convert_volumes"],
    "collect_quarantine": ["index_studies", "convert_labels"],
    "make_folds": ["collect_quarantine"],
    "train_segmentation": ["make_folds", "convert_labels"],
    "infer_masks": ["train_segmentation", "make_folds"],
    "make_crops": ["convert_volumes", "infer_masks"],
    "train_classifier": ["make_folds", "make_crops"],
    "average_checkpoints": ["train_classifier"],
    "predict_oof": ["average_checkpoints"],
    "export_bundle": ["train_segmentation", "average_checkpoints"],
    "evaluate": ["collect_quarantine", "predict_oof"],
    "report": ["evaluate", "export_bundle"],
    "all": ["report"],
}
JOBS = {
    **dict.fromkeys(READS, 1),
    **dict.fromkeys(["index_studies", "convert_volumes", "convert_labels", "infer_masks", "make_crops"], SHARDS),
    "train_segmentation": SEGMENTATION_FOLDS,
    **dict.fromkeys(["train_classifier", "average_checkpoints", "predict_oof"], CLASSIFIERS),
}


def after(*changed, **counts):
    """Return the jobs of the changed rules and of all that reads from them; ``counts`` overrule the full numbers."""
    found = set(changed)
    for rule, sources in READS.items():
        if found.intersection(sources):
            found.add(rule)
    return {**{rule: JOBS[rule] for rule in found}, **counts}


# --- Changes: each gets the project's folder and the working directory, and may return further arguments --------------
def edit(name, before, changed):
    def apply(project, work):
        path = project / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, changed, 1))

    return apply


def configure(**keys):
    def apply(project, work):
        config = merged(yaml.safe_load((work / "overlay.yaml").read_text()), keys)
        (work / "overlay.yaml").write_text(yaml.safe_dump(config))

    return apply


def merged(config, keys):
    for key, value in keys.items():
        config[key] = merged(config.get(key, {}), value) if isinstance(value, dict) else value
    return config


def add_study(project, work):
    (work / "data/train_images/1.2.826.0.1.3680043.99").mkdir()


def remove_study(project, work):
    shutil.rmtree(work / "data/train_images" / STUDY)


def replace_study(project, work):
    folder = work / "data/train_images" / STUDY
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"other pixels")


def save_study_again(project, work):
    folder = work / "data/train_images" / STUDY
    content = (folder / "1.dcm").read_bytes()
    (folder / "1.dcm").unlink()
    (folder / "1.dcm").write_bytes(content)


def overwrite_in_place(project, work):
    (work / "data/train_images" / STUDY / "1.dcm").write_bytes(b"other pixels")


def correct_label(project, work):
    (work / "data/train.csv").write_text("StudyInstanceUID,patient_overall\n1,1\n")


def touch_labels(project, work):
    (work / "data/train.csv").touch()


def replace_segmentation(project, work):
    (work / f"data/segmentations/{STUDY}.nii").write_bytes(b"another")


def delete(name):
    def apply(project, work):
        (work / name).unlink()

    return apply


def truncate(name):
    def apply(project, work):
        (work / name).write_text("")

    return apply


def move_output(project, work):
    (work / "results").rename(work / "elsewhere")
    return configure(output_dir="elsewhere")(project, work)


def move_checkout(project, work):
    project.rename(project.with_name("moved"))


def reorder_keys(project, work):
    config = yaml.safe_load((project / "config.yaml").read_text())
    config["crops"] = dict(reversed(config["crops"].items()))
    (project / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def more_cores(project, work):
    return ["--cores", "7", "--set-threads", "train_classifier=3"]


ONE_SHARD = {"index_studies": 1, "convert_volumes": 1, "convert_labels": 1}
IR_ONLY = {"average_checkpoints": 2, "predict_oof": 2}
LOSS = "spine_models/models/losses.py"
CHANGES = [
    ("nothing", lambda project, work: None, {}),
    ("a comment in the loss", edit(LOSS, "from __future__", "# why\nfrom __future__"), {}),
    (
        "the loss",
        edit(LOSS, "from __future__ import annotations", "from __future__ import annotations\n\nX = 1"),
        "loss",
    ),
    ("an error's wording", edit("spine_models/errors.py", '"error: ', '"mistake: '), {}),
    ("a report's style sheet", edit("spine_models/report/style.css", "{", "{ "), "style"),
    (
        "an augmentation of the classifier",
        configure(classification={"augmentation": {"scale": 0.2}}),
        after("train_classifier"),
    ),
    ("the seed", configure(seed=1), after("make_folds")),
    ("the classifier's micro-batch", configure(classification={"micro_batch": 8}), after("train_classifier")),
    (
        "the segmentation's learning rate",
        configure(segmentation={"learning_rate": 1.0e-3}),
        after("train_segmentation"),
    ),
    ("one segmentation fold more", configure(segmentation={"folds": 3}), after("make_folds", train_segmentation=3)),
    (
        "one classifier fold more",
        configure(classification={"variants": {"ip": {"folds": 2}}}),
        {"train_classifier": 1, "average_checkpoints": 1, "predict_oof": 1, **after("evaluate", "export_bundle")},
    ),
    (
        "the averaging count of ir",
        configure(classification={"variants": {"ir": {"average": 4}}}),
        after("average_checkpoints", **IR_ONLY),
    ),
    (
        "the inference window",
        configure(segmentation={"inference": {"window": 256}}),
        after("infer_masks", "export_bundle"),
    ),
    ("the crops' margin", configure(crops={"margin": 8}), after("make_crops", "export_bundle")),
    ("half_size", configure(half_size=128), after("convert_volumes")),
    ("label_geometry", configure(label_geometry="index"), after("convert_labels")),
    ("strict", configure(strict=True), after("collect_quarantine")),
    (
        "the number of shards",
        configure(shards=3),
        {**JOBS, **{rule: 3 for rule, jobs in JOBS.items() if jobs == SHARDS and rule != "train_segmentation"}},
    ),
    ("reordered keys", reorder_keys, {}),
    ("device", configure(device="cpu"), {}),
    ("gpus", configure(classification={"gpus": 2}, segmentation={"gpus": 2}), {}),
    ("workers", configure(classification={"workers": 1}, segmentation={"workers": 1}), {}),
    ("checkpoint_minutes", configure(checkpoint_minutes=1), {}),
    ("keep.volumes", configure(keep={"volumes": False}), {}),
    ("cores and threads", more_cores, {}),
    ("a phantom setting", configure(phantom={"studies": 3}), {}),
    ("an envs file, without conda", edit("envs/spine_models.yaml", "  - pip", "  - pip\n  - make"), {}),
    ("a study added", add_study, after("index_studies", **ONE_SHARD)),
    ("a study removed", remove_study, after("index_studies", **ONE_SHARD)),
    ("a study replaced by other pixels", replace_study, after("index_studies", **ONE_SHARD)),
    ("a study saved again with equal bytes", save_study_again, after("index_studies", **ONE_SHARD)),
    ("a study overwritten in place", overwrite_in_place, {}),
    ("a label corrected in train.csv", correct_label, after("train_classifier", "export_bundle", "evaluate")),
    ("train.csv touched", touch_labels, {}),
    ("a segmentation replaced", replace_segmentation, after("convert_labels", convert_labels=1)),
    ("an array deleted", delete("results/crops/0/array.npy"), {}),
    # Nothing that is left to do reads it; the next job that does makes it anew first.
    ("a manifest deleted", delete("results/masks/0.json"), {}),
    ("a manifest truncated", truncate("results/masks/0.json"), after("make_crops", make_crops=1)),
    ("output_dir moved", move_output, {}),
    ("the checkout moved", move_checkout, {}),
]
SPECIAL = {
    "loss": after("train_segmentation"),
    "style": {"report": 1, "all": 1},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project and a working directory in which everything is there and nothing is to be done."""
    folder = tmp_path_factory.mktemp("reruns")
    project, work = folder / "project", folder / "work"
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        project.mkdir(exist_ok=True)
        copy(ROOT / part, project / part)
    dataset = data_set(work / "data", 4)
    (dataset / "train.csv").write_text("StudyInstanceUID,patient_overall\n1,0\n")
    (dataset / "segmentations").mkdir()
    (dataset / f"segmentations/{STUDY}.nii").write_bytes(b"one")
    (work / "overlay.yaml").write_text(yaml.safe_dump(OVERLAY))
    summary = run(project, work, "--summary").stdout.splitlines()
    for name in [line.split("\t")[0] for line in summary if line.startswith("results/")]:
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if path.name == "epochs" else path.write_text("content")
    (work / "results/crops/0").mkdir()
    (work / "results/crops/0/array.npy").touch()
    touched = run(project, work, "--touch", "--forceall", "--cores", "1")
    assert touched.returncode == 0, touched.stderr
    return folder


def run(project, work, *arguments):
    return snakemake("--configfile", work / "overlay.yaml", *arguments, directory=work, root=project)


@pytest.mark.parametrize(("name", "change", "expected"), CHANGES, ids=[name for name, _, _ in CHANGES])
def test_a_change_plans_exactly_what_depends_on_it(name, change, expected, finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    project, work = copy / "project", copy / "work"
    for folder in ("train_images", "segmentations"):
        restore_times(finished / "work/data" / folder, work / "data" / folder)
    more = change(project, work) or []
    project = project if project.exists() else project.with_name("moved")
    expected = SPECIAL[expected] if isinstance(expected, str) else expected
    if expected:
        expected = {**expected, "all": 1}
    assert planned(run(project, work, "-n", *more)) == expected


def restore_times(source: Path, target: Path):
    """Give copied folders the modification times of the originals, which is what tells a changed study."""
    for path in [source, *source.rglob("*")]:
        stat = path.stat()
        os.utime(target / path.relative_to(source), ns=(stat.st_atime_ns, stat.st_mtime_ns))
