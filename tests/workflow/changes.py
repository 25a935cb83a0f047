"""Single changes to a finished run, and what each costs: the jobs that are planned and the work that is redone.

``python -m tests.workflow.changes`` prints the table that stands in docs/reruns.md; a test compares the two.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from spine_models.configuration.overlays import merge
from tests.workflow.finished_run import (
    CLASSIFIERS,
    LABELS,
    SEGMENTATION_FOLDS,
    SEGMENTED,
    SHARDS,
    STUDIES,
    write_labels,
    write_segmentation,
    write_study,
)

ADDED = "1.2.826.0.1.3680043.99"
UNSEGMENTED = STUDIES[4]
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
}
JOBS = {
    **dict.fromkeys(READS, 1),
    **dict.fromkeys(["index_studies", "convert_volumes", "convert_labels", "infer_masks", "make_crops"], SHARDS),
    "train_segmentation": SEGMENTATION_FOLDS,
    **dict.fromkeys(["train_classifier", "average_checkpoints", "predict_oof"], CLASSIFIERS),
}
# What the first run makes, and what the docs call it.
MADE = {
    "convert_volumes": ("studies decoded", 6),
    "convert_labels": ("label maps", 4),
    "train_segmentation": ("segmentation trainings", 2),
    "infer_masks": ("masks", 6),
    "make_crops": ("crops", 6),
    "train_classifier": ("classifier trainings", 3),
    "average_checkpoints": ("averages judged", 5),
    "predict_oof": ("studies predicted out of fold", 9),
}
CLASSIFICATION = {"train_classifier": 3, "average_checkpoints": 5, "predict_oof": 9}
FROM_CROPS = {"make_crops": 6, **CLASSIFICATION}
FROM_SEGMENTATION = {"train_segmentation": 2, "infer_masks": 6, **FROM_CROPS}
# One more study, in the fold that the second of two classifiers holds out.
ONE_STUDY = {"convert_volumes": 1, "infer_masks": 1, "make_crops": 1, **CLASSIFICATION}

# Networks of equal weights whose files name another code: the masks are made, and come out equal.
NEW_NETWORKS = {"train_segmentation": 2, "infer_masks": 6}
LOSS = "spine_models/models/losses.py"
HISTORY = "spine_models/training/history.py"
SAYS = "            say("
IMPORT = "from __future__ import annotations"

Apply = Callable[[Path, Path], list[str] | None]
"""Gets the project's folder and the working directory; may return further arguments of Snakemake."""


@dataclass(frozen=True)
class Change:
    """A change and its two prices.

    Attributes:
        name: for people.
        apply: makes it.
        planned: rule to number of jobs, but for the target ``all``.
        made: rule to what its jobs really make; every other planned job takes an earlier result over, or only writes
            a table, a bundle or a page.
        note: for people.
    """

    name: str
    apply: Apply
    planned: dict[str, int]
    made: dict[str, int]
    note: str = ""


def after(*changed: str, **counts: int) -> dict[str, int]:
    """Return the jobs of the changed rules and of all that reads from them; ``counts`` overrule the full numbers."""
    found = set(changed)
    for rule, sources in READS.items():
        if found.intersection(sources):
            found.add(rule)
    return {**{rule: JOBS[rule] for rule in found}, **counts}


def edit(name, before, changed):
    def apply(project, work):
        path = project / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, changed, 1))

    return apply


def add_code(*names):
    """Add code to modules that changes nothing of what they compute."""
    return all_of(*(edit(name, IMPORT, f"{IMPORT}\n\nX = 1") for name in names))


def rename(path, before, name):
    def apply(project, work):
        text = (project / path).read_text()
        assert before in text
        (project / path).write_text(text.replace(before, name))

    return apply


def accept(stage):
    def apply(project, work):
        snakemake = ["--directory", work, "--configfile", work / "overlay.yaml"]
        command = [sys.executable, "-m", "spine_models", "accept", work / "results", "--stage", stage]
        subprocess.run([*command, "--reason", "a private name", "--", *snakemake], cwd=project, check=True)

    return apply


def all_of(*changes):
    def apply(project, work):
        for change in changes:
            change(project, work)

    return apply


def configure(**keys):
    def apply(project, work):
        config = yaml.safe_load((work / "overlay.yaml").read_text())
        merge(config, keys)
        (work / "overlay.yaml").write_text(yaml.safe_dump(config))

    return apply


def add_study(project, work):
    write_study(work / "data", ADDED, 99)
    write_labels(work / "data", LABELS | {ADDED: 1})


def remove_study(project, work):
    shutil.rmtree(work / "data/train_images" / UNSEGMENTED)


def replace_study(project, work):
    remove_study(project, work)
    write_study(work / "data", UNSEGMENTED, 77)


def save_study_again(project, work):
    for path in slices(work):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def overwrite_in_place(project, work):
    for path in slices(work):
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)


def slices(work):
    return sorted((work / "data/train_images" / UNSEGMENTED).iterdir())


def correct_label(project, work):
    write_labels(work / "data", LABELS | {UNSEGMENTED: 1 - LABELS[UNSEGMENTED]})


def replace_segmentation(project, work):
    write_segmentation(work / "data", SEGMENTED[0], (5, 4, 3))


def aged(change, *names):
    """Return ``change``, after which the files and folders are older than all else, as from a backup."""

    def apply(project, work):
        change(project, work)
        for name in names:
            for path in [*(work / name).rglob("*"), work / name]:
                os.utime(path, (10**9, 10**9))

    return apply


def touch(name):
    return lambda project, work: (work / name).touch()


def delete(name):
    return lambda project, work: (work / name).unlink()


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


def forced(rule, change):
    def apply(project, work):
        change(project, work)
        return ["--forcerun", rule]

    return apply


ONE_SHARD = {"index_studies": 1, "convert_volumes": 1, "convert_labels": 1}
IR_ONLY = {"average_checkpoints": 2, "predict_oof": 2}
CHANGES = [
    Change("nothing", lambda project, work: None, {}, {}),
    Change("a comment in the loss", edit(LOSS, IMPORT, f"# why\n{IMPORT}"), {}, {}),
    Change("an error's wording", edit("spine_models/errors.py", '"error: ', '"mistake: '), {}, {}),
    Change(
        "the words of a `UserError` and of a refusal's reason",
        all_of(
            edit("spine_models/provenance/shelf.py", "is in none of", "is not in any of"),
            edit("spine_models/data/dicom/geometry.py", "one slice is not a volume", "a volume has two slices or more"),
        ),
        {},
        {},
    ),
    Change("one more line in a training's log", edit(HISTORY, SAYS, f"{SAYS}str(row))\n{SAYS}"), {}, {}),
    Change("code of `command_line.py`", add_code("spine_models/command_line.py"), {}, {}),
    Change("code of `provenance/locks.py`", add_code("spine_models/provenance/locks.py"), {}, {}),
    Change("code of `compute/leases.py`", add_code("spine_models/compute/leases.py"), {}, {}),
    Change(
        "a key's description",
        edit("rules/config.schema.yaml", "Crops drawn for each study", "Draws of a study"),
        {},
        {},
    ),
    Change(
        "code of the label maps (`data/labels/`), their values unchanged",
        add_code("spine_models/data/labels/nifti.py", "spine_models/data/labels/onto_grid.py"),
        after("convert_labels"),
        {"convert_labels": 4},
        "the labels come out equal, and there the work stops",
    ),
    Change(
        "code of the losses, their values unchanged",
        add_code(LOSS),
        after("train_segmentation"),
        NEW_NETWORKS,
        "the masks come out equal, and there the work stops",
    ),
    Change(
        "... and `spine-models accept`",
        all_of(rename(LOSS, "_add_by_class", "_add_per_class"), accept("train_segmentation")),
        {},
        {},
        "a person has judged that a renamed private function changes nothing",
    ),
    Change(
        "code of the segmentation's network (`models/unet.py`), its values unchanged",
        add_code("spine_models/models/unet.py"),
        after("train_segmentation", "infer_masks"),
        NEW_NETWORKS,
        "likewise",
    ),
    Change(
        "code of the classifier (`models/classifier.py`), its values unchanged",
        add_code("spine_models/models/classifier.py"),
        after("train_classifier"),
        CLASSIFICATION,
    ),
    Change(
        "code of the augmentation (`data/samples/augmentation.py`), its values unchanged",
        add_code("spine_models/data/samples/augmentation.py"),
        after("train_segmentation", "train_classifier"),
        {**NEW_NETWORKS, **CLASSIFICATION},
        "both trainings use it; the masks come out equal, so that crops are reused",
    ),
    Change("a style sheet of the report", edit("spine_models/report/style.css", "{", "{ "), {"report": 1}, {}),
    Change("a template of the report", edit("spine_models/report/base.html.j2", "<", " <"), {"report": 1}, {}),
    Change(
        "an augmentation of the classifier",
        configure(classification={"training": {"augmentation": {"scale": 0.2}}}),
        after("train_classifier"),
        CLASSIFICATION,
    ),
    Change(
        "the classifier's micro-batch",
        configure(classification={"training": {"micro_batch": 2}}),
        after("train_classifier"),
        {"train_classifier": 2, "average_checkpoints": 4, "predict_oof": 6},
        "ip's batch norm is frozen, so that its weights do not depend on it",
    ),
    Change(
        "the segmentation's learning rate",
        configure(segmentation={"training": {"learning_rate": 2.0e-2}}),
        after("train_segmentation"),
        FROM_SEGMENTATION,
        "crops of studies whose masks differ, and what follows from them",
    ),
    Change("the seed", configure(seed=1), after("make_folds"), FROM_SEGMENTATION, "folds are drawn anew"),
    Change(
        "one segmentation fold more",
        configure(segmentation={"folds": 3}),
        after("make_folds", train_segmentation=3),
        {**FROM_SEGMENTATION, "train_segmentation": 3},
        "another number of folds draws them anew",
    ),
    Change(
        "one classifier fold more",
        configure(classification={"variants": {"ip": {"folds": 2}}}),
        {"train_classifier": 1, "average_checkpoints": 1, "predict_oof": 1, **after("evaluate", "export_bundle")},
        {"train_classifier": 1, "average_checkpoints": 1, "predict_oof": 3},
    ),
    Change(
        "the averaging count of ir",
        configure(classification={"variants": {"ir": {"average": 1}}}),
        after("average_checkpoints", **IR_ONLY),
        {"predict_oof": 6},
        "the best epoch by itself had been judged before",
    ),
    Change(
        "the inference window, above the volumes' depth",
        configure(segmentation={"inference": {"window": 64}}),
        after("infer_masks", "export_bundle"),
        {"infer_masks": 6},
        "the masks come out equal, and there the work stops",
    ),
    Change(
        "`segmentation.inference.flips`",
        configure(segmentation={"inference": {"flips": ["none", "horizontal"]}}),
        after("infer_masks", "export_bundle"),
        {"infer_masks": 6, **FROM_CROPS},
        "the trainings stay",
    ),
    Change(
        "`segmentation.inference.z_fill`",
        configure(segmentation={"inference": {"z_fill": "mean"}}),
        after("infer_masks", "export_bundle"),
        {"infer_masks": 6, **FROM_CROPS},
    ),
    Change(
        "`plausibility.stray_mm`",
        configure(plausibility={"stray_mm": None}),
        after("infer_masks", "export_bundle"),
        {"infer_masks": 6},
        "the masks come out equal, and there the work stops",
    ),
    Change(
        "`segmentation.network.last_block`",
        configure(segmentation={"network": {"last_block": "full"}}),
        after("train_segmentation"),
        FROM_SEGMENTATION,
    ),
    Change(
        "`classification.inference.flips`",
        configure(classification={"inference": {"flips": ["none", "horizontal"]}}),
        after("predict_oof", "export_bundle"),
        {"predict_oof": 9},
        "epochs and averages are judged without flips",
    ),
    Change(
        "`crops.z_fill`",
        configure(crops={"z_fill": "mean"}),
        after("make_crops", "export_bundle"),
        FROM_CROPS,
    ),
    Change(
        "the crops' margin",
        configure(crops={"margin": 3}),
        after("make_crops", "export_bundle"),
        FROM_CROPS,
    ),
    Change(
        "half_size",
        configure(half_size=64),
        after("convert_volumes"),
        {"convert_volumes": 6, "convert_labels": 4, **FROM_SEGMENTATION},
    ),
    Change(
        "`hu_limits`, narrower than the volumes' values",
        configure(hu_limits=[-1024, 512]),
        after("convert_volumes", "make_crops", "export_bundle"),
        {"convert_volumes": 6, **FROM_SEGMENTATION},
    ),
    Change(
        "`hu_limits`, beyond which no volume has values",
        configure(hu_limits=None),
        after("convert_volumes", "make_crops", "export_bundle"),
        {"convert_volumes": 6},
        "the volumes come out equal, and there the work stops",
    ),
    Change(
        "`label_numbers`",
        configure(label_numbers={f"C{number}": number for number in range(1, 8)}),
        after("convert_labels"),
        {},
        "the same numbers in other words: the job finds its labels there and leaves them",
    ),
    Change(
        "label_geometry",
        configure(label_geometry="index"),
        after("convert_volumes"),
        {"convert_labels": 4, **FROM_SEGMENTATION},
        "here the voxels' order is not that of the affines",
    ),
    Change("strict", configure(strict=True), after("collect_quarantine"), {}),
    Change(
        "the number of shards",
        configure(shards=3),
        {**JOBS, **{rule: 3 for rule, jobs in JOBS.items() if jobs == SHARDS and rule != "train_segmentation"}},
        {"convert_volumes": 6, "convert_labels": 4, "infer_masks": 6, "make_crops": 6},
        "data are in the folders of their shards; everything else is reused",
    ),
    Change("reordered keys", reorder_keys, {}, {}),
    Change("device", configure(device="auto"), {}, {}),
    Change("gpus", configure(classification={"gpus": 1}, segmentation={"gpus": 1}), {}, {}),
    Change("workers", configure(classification={"workers": 1}, segmentation={"workers": 1}), {}, {}),
    Change("checkpoint_minutes", configure(checkpoint_minutes=1), {}, {}),
    Change("keep.volumes", configure(keep={"volumes": False}), {}, {}),
    Change("cores and threads", more_cores, {}, {}),
    Change("a phantom setting, without phantoms", configure(phantom={"studies": 13}), {}, {}),
    Change(
        "an envs file, without conda deployment",
        edit("envs/spine_models.yaml", "  - pip", "  - pip\n  - make"),
        {},
        {},
        "with it, every rule: the environment is another one",
    ),
    Change("a study added", add_study, after("index_studies", **ONE_SHARD), {**ONE_STUDY, "predict_oof": 10}),
    Change(
        "a study removed",
        remove_study,
        after("index_studies", **ONE_SHARD),
        {**CLASSIFICATION, "predict_oof": 8},
    ),
    Change("a study's folder replaced by other pixels", replace_study, after("index_studies", **ONE_SHARD), ONE_STUDY),
    Change(
        "a study's folder replaced by an older one",
        aged(replace_study, f"data/train_images/{UNSEGMENTED}"),
        after("index_studies", **ONE_SHARD),
        ONE_STUDY,
        "times are compared, not ordered",
    ),
    Change(
        "a study saved again with equal bytes",
        save_study_again,
        after("index_studies", **ONE_SHARD),
        {},
        "its files are read once",
    ),
    Change(
        "a study's files overwritten in place by other pixels",
        overwrite_in_place,
        {},
        {},
        "**not noticed**: the folder's time did not change. `spine-models check DIR --output-dir results` "
        "finds it, `snakemake --forcerun index_studies` acts on it:",
    ),
    Change(
        "... and `--forcerun index_studies`",
        forced("index_studies", overwrite_in_place),
        after("index_studies"),
        ONE_STUDY,
    ),
    Change(
        "a label corrected in `train.csv`",
        correct_label,
        after("train_classifier", "export_bundle", "evaluate"),
        CLASSIFICATION,
    ),
    Change(
        "`train.csv` replaced by an older one with another label",
        aged(correct_label, "data/train.csv"),
        after("train_classifier", "export_bundle", "evaluate"),
        CLASSIFICATION,
    ),
    Change("`train.csv` touched", touch("data/train.csv"), {}, {}, "files up to 1 MB are compared by content"),
    Change(
        "a segmentation replaced",
        replace_segmentation,
        after("convert_volumes", convert_volumes=1, convert_labels=1),
        # The network of the study's own fold never learnt from it, so the masks of that fold's two studies stay.
        {"convert_labels": 1, **FROM_SEGMENTATION, "make_crops": 4},
        "the crops of the study's own fold stay: its network never learnt from the map",
    ),
    Change(
        "a segmentation replaced by an older one",
        aged(replace_segmentation, f"data/segmentations/{SEGMENTED[0]}.nii"),
        after("convert_volumes", convert_volumes=1, convert_labels=1),
        {"convert_labels": 1, **FROM_SEGMENTATION, "make_crops": 4},
    ),
    Change(
        "an array deleted",
        delete(f"results/volumes_half/0/{STUDIES[2]}.npy"),
        {},
        {},
        "arrays are not declared; the next job that reads it stops and names the command that repairs it",
    ),
    Change(
        "a manifest deleted",
        delete("results/masks/0.json"),
        {},
        {},
        "everything after it is there; the next job that reads it makes it anew first",
    ),
    Change("`output_dir` moved with its content", move_output, {}, {}),
    Change("the checkout moved", move_checkout, {}, {}),
]


def table() -> str:
    """Return the table of the docs."""
    lines = ["| change | first jobs planned (with all downstream of them) | really made |", "|---|---|---|"]
    return "\n".join([*lines, *map(_line, CHANGES)])


def _line(change: Change) -> str:
    first = [rule for rule in READS if rule in change.planned and not set(READS[rule]) & set(change.planned)]
    jobs = ", ".join(f"{change.planned[rule]} `{rule}`" for rule in first) or "none"
    made = ", ".join(f"{change.made[rule]} {name}" for rule, (name, _) in MADE.items() if rule in change.made)
    nothing = "nothing" if not change.planned else "nothing: all results are taken over"
    return f"| {change.name} | {jobs} | {'; '.join(filter(None, [made or nothing, change.note]))} |"


if __name__ == "__main__":
    print(table())
