"""Mistakes that a person makes: each ends with one sentence that names the thing and says what to do, and no trace."""

import json
import subprocess
import sys

import pytest

from spine_models.commands.app import main
from tests.bundle_files import write_description
from tests.workflow.runs import ROOT

HEADER = "StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7"
TRAIN = f"{HEADER}\n1.2.3,1,1,0,0,0,0,0,0\n"
FILES = {
    "file": "",
    "bad.yaml": "seed: 1\nphantom: [\n",
    "text.yaml": "just words",
    "data/train.csv": TRAIN,
    "data/train_images/1.2.3/1.dcm": "",
    "overall/train.csv": TRAIN.replace("1,1,0", "0,1,0"),
    "overall/train_images/1.2.3/1.dcm": "",
    "two/train.csv": TRAIN.replace("1,1,0", "1,2,0"),
    "two/train_images/1.2.3/1.dcm": "",
    "column/train.csv": TRAIN.replace("C7", "C8"),
    "column/train_images/1.2.3/1.dcm": "",
    "boxes/train.csv": TRAIN,
    "boxes/train_images/1.2.3/1.dcm": "",
    "boxes/train_bounding_boxes.csv": "StudyInstanceUID,x,y,width,height,slice_number\n1.2.3,1,1,-4,4,1\n",
    "tested/train.csv": TRAIN,
    "tested/train_images/1.2.3/1.dcm": "",
    "tested/test_images/1.2.4/1.dcm": "",
    "tested/test.csv": "row_id,StudyInstanceUID,prediction_type\n1.2.4_C1,1.2.4,C2\n",
    "no_table/train_images/1.2.3/1.dcm": "",
    "test.csv": "row_id,study\n",
    "others.csv": "StudyInstanceUID,fold\n9.9,0\n",
    "nine.csv": "StudyInstanceUID,fold\n1.2.3,9\n",
    "series.csv": "study,series\n1.2.3,first\n",
    "broken/bundle.json": "{",
    "studies/one/1.dcm": "",
    "results/index/studies.csv": "",
    "archive.zip": "",
}

COMMANDS = [
    ("phantom --out file", "--out file is a file: give a folder"),
    ("phantom --out file/below", "--out file/below leads through file, which is a file: give a folder"),
    (
        "phantom --out /proc/phantoms",
        "--out /proc/phantoms cannot be written (No such file or directory)",
    ),
    ("phantom --out new --studies 0", "phantom.studies is 0: choose a value from 1"),
    ("phantom --out new --threads 0", "'--threads'"),
    ("check nope", "dataset_dir nope is not a folder: it must contain"),
    ("check data --output-dir nope", "--output-dir nope holds no volumes: give the output_dir of a run"),
    ("check data --processes -1", "'--processes'"),
    (
        "predict --bundle nope --studies studies --out new",
        "nope is not a bundle: it has no bundle.json; `snake",
    ),
    ("predict --bundle broken --studies studies --out new", "bundle.json is damaged"),
    (
        "predict --bundle BUNDLE --studies nope --out new",
        "nope is not a folder: give the folder that holds",
    ),
    ("predict --bundle BUNDLE --studies archive.zip --out new", "archive.zip is a file: give a folder; unpack"),
    ("predict --bundle BUNDLE --studies studies --out file", "--out file is a file: give a folder"),
    ("predict --bundle BUNDLE --studies studies --out studies/new", "are inside one another: write the results into"),
    ("predict --bundle BUNDLE --studies studies --out new --test-csv nope.csv", "nope.csv cannot be read as a table"),
    ("predict --bundle BUNDLE --studies studies --out new --test-csv test.csv", "test.csv, read with commas between"),
    ("predict --bundle BUNDLE --studies studies --out new --threads 0", "'--threads'"),
    ("predict --bundle BUNDLE --studies studies --out new --flips vertical", "'--flips'"),
    (
        "predict --bundle BUNDLE --studies studies --out new --series-csv series.csv",
        "series is 'first', it must be a UID",
    ),
    ("import-published nope --out new", "nope is not a folder: give the folder that holds the published checkpoints"),
    ("import-published data --out file", "--out file is a file: give a folder"),
    ("prune-state nope", "nope is not a folder: give the output_dir of a run"),
    ("prune-state results", "results holds no states of trainings: give the output_dir of a run that has trained"),
    ("summary file", "file is not a folder: give the output_dir of a run"),
    ("summary results", "metrics.json is missing: run `snakemake evaluate` first"),
    ("accept results --stage make_crops", "--stage without --reason: say why"),
    (
        "resources --configfile nope.yaml",
        "nope.yaml cannot be read as an overlay (No such file or directory)",
    ),
    ("resources --configfile bad.yaml", "bad.yaml line 3 cannot be read as YAML"),
    ("resources --configfile text.yaml", "text.yaml holds no keys: write lines like `seed: 1`"),
    ("resources --configfile file/overlay.yaml", "file/overlay.yaml cannot be read as an overlay (Not a directory)"),
    ("workflow -- --config segmentation.gpus=1", "names a key by dots: write --config segmentation='{gpus: 1}'"),
    ("workflow -- --config a.b.c=1", "names a key by dots: write --config a='{b: {c: 1}}'"),
    ("workflow -- --config dataset_dir", "--config dataset_dir is not KEY=VALUE: write"),
    ("workflow -- --config n=5", "'n' is not a key of config.yaml"),
    ("workflow -- --configfile nope.yaml", "nope.yaml cannot be read as an overlay"),
    ("workflow -- --configfile=bad.yaml", "bad.yaml line 3 cannot be read as YAML"),
    ("chek data", "No such command 'chek'"),
]
"""Command lines of spine-models, and what the sentence holds. BUNDLE is one whose description can be read."""

PLANS = [
    ("--config output_dir=file", "output_dir file is a file: give a folder"),
    ("--config dataset_dir=file", "dataset_dir file is not a folder: it must contain"),
    ("--config dataset_dir=no_table", "dataset_dir no_table lacks train.csv: it must contain"),
    (
        "--config dataset_dir=overall",
        "train.csv line 2: patient_overall is 0, but the largest of C1 to C7 is 1",
    ),
    ("convert --config dataset_dir=two", "train.csv line 2: C1 is '2', it must be 0 or 1"),
    ("convert --config dataset_dir=column", "train.csv, read with commas between its fields, lacks the column C7"),
    (
        "convert --config dataset_dir=boxes",
        "train_bounding_boxes.csv line 2: width is '-4', it must be a number",
    ),
    ("--config dataset_dir=tested pretrained=none", "test.csv line 2: row_id is not 1.2.4_C2: correct it"),
    ("--config dataset_dir=data folds_csv=nope.csv", "nope.csv cannot be read as a table (No such file"),
    (
        "--config dataset_dir=data folds_csv=nine.csv",
        "nine.csv line 2: fold is '9', it must be a whole number from 0",
    ),
    (
        "--config dataset_dir=data folds_csv=others.csv",
        "others.csv names no study of train.csv: give the folds",
    ),
    ("--config dataset_dir=data pretrained=nope", "pretrained is nope, but nope is not there: put the file "),
    ("--config dataset_dir=data pretrained=ftp://host/x", "neither a path nor a file://, http:// or https:// URL"),
    ("--config dataset_dir=data pretrained=none predict_dir=nope", "predict_dir nope is not a folder: set predict_dir"),
    ("--config dataset_dir=data init_bundle=nope", "init_bundle nope has no bundle.json: give a bundle's folder"),
    ("predict --config predict_dir=studies", "neither bundle nor dataset_dir is set: name the bundle that predicts"),
    ("predict --config predict_dir=studies bundle=nope", "bundle nope has no bundle.json: give a bundle's folder"),
    (
        "predict --config predict_dir=studies bundle=broken prediction={series_csv:series.csv}",
        "series.csv line 2: series is 'first', it must be a UID",
    ),
    ("--config segmentation=1", "segmentation is 1, but must be a group of keys"),
    ("--config sead=1", "key 'sead' (value 1) is unknown; did you mean 'seed'?"),
]
"""Arguments of Snakemake, and what the sentence holds."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with everything that the command lines name, and nothing that they call nope or new."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="session")
def described_bundle(tmp_path_factory):
    """The folder of a bundle whose description can be read, and whose networks are not there."""
    folder = tmp_path_factory.mktemp("bundle")
    write_description(folder)
    return folder


@pytest.fixture(scope="session")
def plans(folder):
    """What Snakemake says to each of PLANS: exit status and output."""
    fixed = ["--dry-run", "--cores", "1", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    arguments = [[*fixed, *_words(line)] for line, _ in PLANS]
    process = subprocess.run(
        [sys.executable, "-m", "tests.workflow.planned_in_turn"],
        cwd=ROOT,
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip([line for line, _ in PLANS], json.loads(process.stdout), strict=True))


def _words(line):
    return [word.replace(":series", ": series") for word in line.split()]


@pytest.mark.parametrize(("line", "sentence"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_a_mistake_on_the_command_line_is_one_sentence(line, sentence, folder, described_bundle, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as caught:
        main(line.replace("BUNDLE", str(described_bundle)).split())
    out, error = capsys.readouterr()
    assert caught.value.code == 1
    assert out == ""
    lines = error.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]
    assert not (folder / "new").exists()


@pytest.mark.parametrize(("line", "sentence"), PLANS, ids=[line for line, _ in PLANS])
def test_a_mistake_in_the_configuration_is_one_sentence_before_the_first_job(line, sentence, plans):
    status, said = plans[line]
    assert status == 1
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert sentence in last
    assert said.count("error: ") == 1


def test_there_are_forty_of_them():
    assert len({line for line, _ in [*COMMANDS, *PLANS]}) >= 40
