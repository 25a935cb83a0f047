"""What a change costs: the jobs that are planned after it and the work that they really do.

One small run of every rule is made for all changes; each change gets a copy of it and is made only there. The rules
run as they always do, only in processes that start warm (``warm.py``).
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from spine_models.data.stages.check_dataset import check_dataset
from tests.provenance.reach import reach
from tests.workflow.changes import (
    CHANGES,
    JOBS,
    LOSS,
    MADE,
    UNSEGMENTED,
    accept,
    add_code,
    all_of,
    configure,
    edit,
    overwrite_in_place,
    rename,
    table,
)
from tests.workflow.finished_run import SEGMENTED, STUDIES, copy_run, made, make_run, run
from tests.workflow.runs import ROOT, planned

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("reruns")]
# Half of the changes are another group, over a run of its own: one worker alone would be at it when all else is done.
SECOND_GROUP = pytest.mark.xdist_group("more_reruns")
TABLE = [pytest.param(change, marks=[SECOND_GROUP] if number % 2 else []) for number, change in enumerate(CHANGES)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, jobs):
    """A project and a working directory in which everything is made."""
    return make_run(tmp_path_factory.mktemp("reruns") / "finished", jobs)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run without its logs, so that those of the next run are its own."""
    project, work = copy_run(finished, tmp_path / "copy")
    shutil.rmtree(work / "results/logs")
    return project, work


def test_the_first_run_makes_everything(finished):
    assert made(finished / "work/results") == {rule: number for rule, (_, number) in MADE.items()}


@pytest.mark.parametrize("change", TABLE, ids=lambda change: change.name)
def test_a_change_costs_exactly_what_the_table_says(change, copied, jobs):
    project, work = copied
    more = change.apply(project, work) or []
    project = project if project.exists() else project.with_name("moved")
    if not change.planned:
        assert planned(run(project, work, "-n", *more, **jobs)) == {}
        assert change.made == {}
        return
    # The table of a run is that of ``-n``.
    process = run(project, work, *more, **jobs)
    assert planned(process) == {**change.planned, "all": 1}
    assert made(work / "results") == change.made


def test_the_docs_hold_this_table():
    assert table() in (ROOT / "docs/reruns.md").read_text(), "run `python -m tests.workflow.changes`"


def test_at_least_50_changes_have_both_expectations():
    assert len({change.name for change in CHANGES}) == len(CHANGES) >= 50


def test_files_overwritten_in_place_are_found_by_check(copied):
    project, work = copied
    overwrite_in_place(project, work)
    report = check_dataset(work / "data", False, work / "results", 1, lambda files: None)
    assert report.overwritten == [UNSEGMENTED]


def test_dropped_volumes_trigger_nothing_and_are_decoded_again_for_what_needs_them(copied, jobs):
    project, work = copied
    arrays = work / "results/volumes"
    kept = sorted(path.stem for path in arrays.rglob("*.npy"))
    assert kept == sorted(STUDIES)
    configure(keep={"volumes": False})(project, work)
    process = run(project, work, "--forcerun", "make_crops", "--until", "make_crops", **jobs)
    assert process.returncode == 0, process.stderr
    assert made(work / "results") == {}
    assert list(arrays.rglob("*.npy")) == []
    # As many records as before, and nothing to be done.
    assert sorted(path.stem for path in arrays.rglob("*/1.*.json") if ".source" not in path.name) == kept
    run(project, work, **jobs)
    assert planned(run(project, work, "-n", **jobs)) == {}
    before = {path.name: path.read_bytes() for path in (work / "results/crops").rglob("*.npy")}
    configure(crops={"margin": 3})(project, work)
    process = run(project, work, "crops", **jobs)
    assert planned(process) == {"make_crops": 2, "crops": 1}
    assert made(work / "results") == {"make_crops": 6}
    assert list(arrays.rglob("*.npy")) == []
    configure(crops={"margin": 2}, keep={"volumes": True})(project, work)
    assert run(project, work, "crops", **jobs).returncode == 0
    assert before == {path.name: path.read_bytes() for path in (work / "results/crops").rglob("*.npy")}


def test_a_job_that_misses_an_array_names_the_command_that_makes_it(copied, jobs):
    project, work = copied
    (work / f"results/volumes_half/{shard_with(work, SEGMENTED[0])}/{SEGMENTED[0]}.npy").unlink()
    configure(segmentation={"training": {"learning_rate": 2.0e-2}})(project, work)
    process = run(project, work, "segmentation", **jobs)
    assert process.returncode == 1
    command = re.search(r"run `snakemake (--force [^`]+)`", process.stdout + process.stderr).group(1)
    shutil.rmtree(work / "results/logs")
    assert run(project, work, *command.split(), **jobs).returncode == 0
    assert made(work / "results") == {"convert_volumes": 1}
    assert run(project, work, "segmentation", **jobs).returncode == 0


def test_accepted_code_is_named_in_the_report_and_covers_no_other_difference(copied, jobs):
    project, work = copied
    all_of(rename(LOSS, "_add_by_class", "_add_per_class"), accept("train_segmentation"))(project, work)
    (line,) = json.loads((work / "results/accepted.json").read_text())
    assert line["modules"] == ["spine_models.models.losses"]
    assert run(project, work, "--force", "results/report/index.html", **jobs).returncode == 0
    page = (work / "results/report/index.html").read_text()
    named = line["accepted"], line["code"], line["modules"][0], line["reason"]
    assert all(text in page for text in named)
    command = [sys.executable, "-m", "spine_models", "lineage", work / "results"]
    said = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    assert all(text in said.partition("train_segmentation: ")[2] for text in named)
    targets = ["results/evaluation/metrics.json", "results/bundle/bundle.json"]
    assert run(project, work, "--force", *targets, **jobs).returncode == 0
    assert all(json.loads((work / target).read_text())["provenance"]["accepted"] == [line] for target in targets)
    configure(segmentation={"training": {"learning_rate": 2.0e-2}})(project, work)
    assert planned(run(project, work, "-n", **jobs))["train_segmentation"] == JOBS["train_segmentation"]


def test_results_without_stored_code_are_listed_with_modules_unknown(copied):
    project, work = copied
    shutil.rmtree(work / "results/code")
    add_code(LOSS)(project, work)
    command = [sys.executable, "-m", "spine_models", "accept", work / "results", "--"]
    command += ["--directory", work, "--configfile", work / "overlay.yaml"]
    said = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"train_segmentation: 2 results of code \w{16}, now \w{16}; changed: modules unknown\n", said)
    assert not (work / "results/accepted.json").exists()


def test_the_code_that_a_run_stores_is_what_the_table_of_reach_says(finished):
    stored = [set(json.loads(path.read_text())) for path in (finished / "work/results/code").glob("*.json")]
    reached = reach()
    for rule in MADE:
        assert {"script", *reached[rule]} in stored, rule


def shard_with(work, study):
    (path,) = (work / "results/volumes_half").glob(f"*/{study}.npy")
    return path.parent.name


def test_a_truncated_manifest_stops_its_readers_and_its_rule_makes_it_anew(copied, jobs):
    project, work = copied
    content = (work / "results/masks/0.json").read_text()
    (work / "results/masks/0.json").write_text(content[: len(content) // 2])
    process = run(project, work, "crops", **jobs)
    assert planned_of(process) == {"make_crops": 1, "crops": 1}
    assert process.returncode == 1
    command = re.search(r"run `snakemake (--force [^`]+)`", process.stdout + process.stderr).group(1)
    shutil.rmtree(work / "results/logs")
    assert run(project, work, *command.split(), **jobs).returncode == 0
    assert made(work / "results") == {}
    assert (work / "results/masks/0.json").read_text() == content


def planned_of(process):
    process.returncode, status = 0, process.returncode
    try:
        return planned(process)
    finally:
        process.returncode = status


def edit_table(project, work):
    """Change a table in a way that leaves it right."""
    path = work / "data/train.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]) + "\n")


WHY = [
    (edit("spine_models/models/losses.py", "from __future__", "X = 1\nfrom __future__"), "train_segmentation", "code"),
    (configure(crops={"margin": 3}), "make_crops", "params"),
    (edit_table, "evaluate", "input"),
    (configure(shards=3), "collect_quarantine", "files"),
]


@pytest.mark.parametrize(("change", "rule", "why"), WHY, ids=[why for _, _, why in WHY])
def test_a_dry_run_says_why_a_rule_would_run(change, rule, why, copied, jobs):
    """The sentences are those of docs/reruns.md."""
    project, work = copied
    change(project, work)
    process = run(project, work, "-n", **jobs)
    text = process.stdout + process.stderr
    job = next(part for part in text.split("\n\n") if f"rule {rule}:" in part)
    reason = re.search(r"reason: (.*)", job).group(1)
    documented = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/reruns.md").read_text(), re.MULTILINE)
    assert any(sentence in reason for sentence in documented), reason


CONDA = """#!/bin/sh
case "$1" in
  info) echo '{"conda_prefix": "/nowhere", "platform": "linux-64"}' ;;
  config) echo '{"get": {"channel_priority": "strict"}}' ;;
  --version) echo 'conda 25.1.0' ;;
esac
"""


def test_with_conda_deployment_an_envs_file_belongs_to_every_rule(copied, tmp_path):
    """Planning asks conda for its version and platform alone, which a script answers where no conda is installed."""
    project, work = copied
    (tmp_path / "conda").write_text(CONDA)
    (tmp_path / "conda").chmod(0o755)
    conda = ["--software-deployment-method", "conda"]
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    everything = {**JOBS, "all": 1}
    assert planned(run(project, work, "-n", *conda, **path)) == everything, "another environment than before"
    assert run(project, work, "--touch", "--forceall", "--cores", "1", *conda, **path).returncode == 0
    assert planned(run(project, work, "-n", *conda, **path)) == {}
    edit("envs/spine_models.yaml", "  - pip", "  - pip\n  - make")(project, work)
    assert planned(run(project, work, "-n", *conda, **path)) == everything
