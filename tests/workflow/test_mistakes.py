"""Mistakes that a person makes: each ends with one sentence that names the thing and says what to do, and no trace."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from types import SimpleNamespace

import pytest
from packaging.specifiers import SpecifierSet

from spine_models.commands.app import main
from spine_models.commands.workflow import checked_arguments
from spine_models.errors import UserError
from tests.bundle_files import write_description
from tests.workflow.runs import ROOT

HEADER = "StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7"
TRAIN = f"{HEADER}\n1.2.3,1,1,0,0,0,0,0,0\n"
FILES = {
    "file": "",
    "bad.yaml": "seed: 1\nphantom: [\n",
    "text.yaml": "just words",
    "data/train.csv": TRAIN + "".join(f"1.2.{number},0,0,0,0,0,0,0,0\n" for number in (4, 5, 6)),
    **{f"data/train_images/1.2.{number}/1.dcm": "" for number in (3, 4, 5, 6)},
    **{f"data/segmentations/1.2.{number}.nii": "" for number in (3, 4, 5, 6)},
    "header/train.csv": f"{HEADER}\n",
    "header/train_images/1.2.3/1.dcm": "",
    "flat/train.csv": TRAIN,
    "flat/train_images/1.dcm": "",
    "patients/train.csv": TRAIN,
    "patients/train_images/patient/1.2.3/1.dcm": "",
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
    "tested/segmentations/1.2.3.nrrd": "",
    "tested/test_images/1.2.4/1.dcm": "",
    "tested/test.csv": "row_id,StudyInstanceUID,prediction_type\n1.2.4_C1,1.2.4,C2\n",
    "no_table/train_images/1.2.3/1.dcm": "",
    "test.csv": "row_id,study\n",
    "others.csv": "StudyInstanceUID,fold\n9.9,0\n",
    "nine.csv": "StudyInstanceUID,fold\n1.2.3,9\n",
    "series.csv": "study,series\n1.2.3,first\n",
    "broken/bundle.json": "{",
    "old/bundle.json": '{"schema": 7, "digest": ""}',
    "no_dicom/notes.txt": "",
    "nnunet/imagesTr/case_0000.nii.gz": "",
    "nnunet/dataset.json": "{}",
    "above/rsna/train.csv": TRAIN,
    "above/rsna/train_images/1.2.3/1.dcm": "",
    "renamed/Train.csv": TRAIN,
    "renamed/train_images/1.2.3/1.dcm": "",
    "twice/train.csv": TRAIN + "1.2.3,0,0,0,0,0,0,0,0\n",
    "twice/train_images/1.2.3/1.dcm": "",
    "yes/train.csv": TRAIN.replace("1,1,0", "yes,yes,no"),
    "yes/train_images/1.2.3/1.dcm": "",
    "excel/train.csv": TRAIN.replace("1.2.3", "1.2826E+12"),
    "excel/train_images/1.2.3/1.dcm": "",
    "mixed/train.csv": TRAIN.replace(",", ";").replace("1;1;0", "1,1;0"),
    "mixed/train_images/1.2.3/1.dcm": "",
    "utf16/train_images/1.2.3/1.dcm": "",
    "stranger/train.csv": TRAIN,
    "stranger/train_images/1.2.3/1.dcm": "",
    "stranger/train_bounding_boxes.csv": "StudyInstanceUID,x,y,width,height,slice_number\n9.9,1,1,4,4,1\n",
    "columns.csv": "study,part\n1.2.3,0\n",
    "repeated.csv": "StudyInstanceUID,fold\n1.2.3,0\n1.2.3,1\n",
    "words.csv": "StudyInstanceUID,fold\n1.2.3,train\n",
    "weights/readme.txt": "",
    "tab.yaml": "seed: 1\n\tshards: 3\n",
    "list.yaml": "- seed: 1\n",
    "equals.yaml": "seed=1\n",
    "again.yaml": "classification: {folds: 1}\nseed: 1\nclassification: {gpus: 0}\n",
    "against.yaml": "classification: {folds: 5, fold_parts: 4}\n",
    "generated.yaml": "phantom: {enabled: true}\ndataset_dir: data\n",
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
    ("phantom --out new --studies two", "'--studies'"),
    ("phantom --out new --matrix -4", "phantom.matrix is -4: choose a value from 32 to 1024"),
    ("phantom --out new --seed -5", "'--seed': Input should be greater than or equal to 0; see `spine-models phantom"),
    ("phantom --out new --seed 4294967296", "'--seed': Input should be less than or equal to 4294967295"),
    ("phantom --out new --subtle nan 1 1 1", "phantom.grades: the shares sum to nan: make them sum to 1"),
    ("phantom --out new --subtle 1 2", "'--subtle' requires 4 arguments; see `spine-models phantom --help`"),
    ("phantom --out", "'--out' requires an argument; see `spine-models phantom --help`"),
    ("phantom --out ''", "--out is an empty path: give one; a variable of the shell may not be set"),
    ("check ''", "DIR is an empty path: give one"),
    ("predict --bundle '' --studies studies --out new", "--bundle is an empty path: give one"),
    ("predict --bundle BUNDLE --studies= --out new", "--studies is an empty path: give one"),
    ("resources --configfile tab.yaml --configfile ''", "--configfile is an empty path: give one"),
    ("phantom --out data", "data is neither empty nor a phantom data set: choose a new folder"),
    ("phantom", "Missing option '--out'"),
    ("check data --label-geometry ras", "'--label-geometry': 'ras' is not one of 'affine', 'index'"),
    ("check data more", "unexpected extra argument"),
    ("check data/train.csv", "dataset_dir data/train.csv is not a folder: it must contain"),
    ("check nnunet", "dataset_dir nnunet lacks train_images/: it must contain"),
    (
        "check above",
        "dataset_dir above lacks train_images/, and above/rsna has it: give that folder",
    ),
    (
        "check data/train_images",
        "dataset_dir data/train_images lacks train_images/, and data has it: give that folder",
    ),
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
    (
        "predict --bundle BUNDLE --studies studies --out new --test-csv test.csv",
        "lacks the columns StudyInstanceUID, pr",
    ),
    ("predict --bundle BUNDLE --studies studies --out new --threads 0", "'--threads'"),
    ("predict --bundle BUNDLE --studies studies --out new --flips vertical", "'--flips'"),
    (
        "predict --bundle BUNDLE --studies studies --out new --series-csv series.csv",
        "series is 'first', it must be a UID",
    ),
    ("predict --bundle studies --studies BUNDLE --out new", "is a bundle, and --bundle studies is not: exchange the"),
    (
        "predict --bundle archive.zip --studies studies --out new",
        "archive.zip is not a zip archive, or is damaged: cop",
    ),
    ("predict --bundle . --studies studies --out new", "is not a bundle, but broken is: give that folder"),
    ("predict --bundle old --studies studies --out new", "old/bundle.json has the version 7, and this spine_models re"),
    (
        "predict --bundle BUNDLE --studies no_dicom --out other",
        "no_dicom holds no DICOM file (1 other files)",
    ),
    (
        "predict --bundle BUNDLE --studies studies --out new --members nope",
        "--members nope fits no network of",
    ),
    (
        "predict --bundle BUNDLE --studies studies --out new --members 'irr, nope'",
        "--members irr fits no network of",
    ),
    ("predict --bundle BUNDLE --studies studies --out new --members ' nope'", "--members nope fits no network of"),
    (
        "predict --bundle file --studies studies --out new",
        "file is not a bundle: give its folder, or the .zip that it w",
    ),
    ("bundle info file", "file is not a bundle: give its folder, or the .zip that it was packed into"),
    (
        "predict --bundle BUNDLE --studies studies --out new --test-csv file",
        "file is empty: it must have the columns r",
    ),
    ("predict --bundle BUNDLE --studies studies --out new --threads 99999999999999999999", "'--threads'"),
    ("predict --bundle BUNDLE --studies studies --out new --operating-point best", "'best' is not one of 'sensitivity"),
    ("predict --bundle BUNDLE --studies studies --out new --format nrrd", "'nrrd' is not one of 'nifti', 'seg'"),
    ("predict --bundle BUNDLE --studies studies --out new --gpus 2", "'--gpus'"),
    ("predict --bundle BUNDLE --studies studies --out new --series axial", "--series axial is not a UID: give the"),
    ("predict --bundle BUNDLE --studies studies --out new --max-study-mb 0", "'--max-study-mb'"),
    ("predict -i studies -o new", "No such option: -i; see `spine-models predict --help`"),
    ("bundle", "'action'. Choose from: info, verify, subset, pack; see `spine-models bundle --help`"),
    ("bundle show BUNDLE", "'show' is not one of 'info', 'verify', 'subset'"),
    ("bundle info studies", "studies is not a bundle: it has no bundle.json; `snakemake bundle` makes one"),
    ("bundle verify BUNDLE", "csn_unet-0.safetensors is missing: copy the bundle again"),
    ("bundle subset BUNDLE --out new", "a subset needs --members, such as ir or ir-0,ip-0, and --out"),
    ("bundle info BUNDLE --members ir", "--members and --out belong to `spine-models bundle subset` and pack"),
    ("view nope", "nope has no index.html: give the --out of a prediction, or the report folder of a run"),
    ("lineage results", "results holds no result with a record: give the output_dir of a run"),
    ("accept nope", "nope is not a folder: give the output_dir of a run"),
    ("accept results -- --config dataset_dir=nope", "`snakemake --dry-run` fails (dataset_dir nope is not a folder"),
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
    ("resources --configfile tab.yaml", "tab.yaml line 2 cannot be read as YAML (found character"),
    ("resources --configfile list.yaml", "list.yaml holds no keys: write lines like `seed: 1`"),
    ("resources --configfile equals.yaml", "equals.yaml holds no keys: write lines like `seed: 1`"),
    ("resources --configfile utf16/train.csv", "utf16/train.csv cannot be read as an overlay (it is not UTF-8 text)"),
    ("resources --configfile data", "data cannot be read as an overlay (Is a directory)"),
    ("resources --configfile again.yaml", "again.yaml line 3 cannot be read as YAML (the key 'classification' occurs"),
    ("resources --configfile against.yaml", "classification.folds is 5, but must be at most classification.fold_parts"),
    ("resources --studies 0", "'--studies'"),
    ("resources --studies 5 --segmented 9", "--segmented 9 is more than --studies 5"),
    ("workflow -- evalute --cores 2", "'evalute' is not a rule of the workflow; did you mean 'evaluate'?"),
    (
        "workflow --dry-run training",
        "'training' is not a rule of the workflow; `spine-models workflow",
    ),
    ("workflow -- --config segmentation.gpus=1", "names a key by dots: write --config segmentation='{gpus: 1}'"),
    ("workflow -- --config a.b.c=1", "names a key by dots: write --config a='{b: {c: 1}}'"),
    ("workflow -- --config dataset_dir", "--config dataset_dir is not KEY=VALUE: write"),
    ("workflow -- --config n=5", "'n' is not a key of config.yaml"),
    ("workflow -- --configfile nope.yaml", "nope.yaml cannot be read as an overlay"),
    ("workflow -- --configfile=bad.yaml", "bad.yaml line 3 cannot be read as YAML"),
    (
        "workflow -- --workflow-profile profiles/slrm -n",
        "--workflow-profile profiles/slrm is not there: did you mean pr",
    ),
    (
        "workflow -- --workflow-profile=nope -n",
        "--workflow-profile nope is not there: the workflow has profiles/default",
    ),
    ("workflow -- --workflow-profile '' -n", "--workflow-profile is empty: give the folder of a profile, or none"),
    (
        "workflow -- --profile nope -n",
        "--profile nope is not there: the workflow has profiles/default and profiles/slurm",
    ),
    ("chek data", "No such command 'chek'"),
]
"""Command lines of spine-models, and what the sentence holds. BUNDLE is one whose description can be read."""

PLANS = [
    ("--config output_dir=file", "output_dir file is a file: give a folder"),
    ("--config dataset_dir=file", "dataset_dir file is not a folder: it must contain"),
    ("--config dataset_dir=nnunet", "dataset_dir nnunet lacks train_images/: it must contain"),
    ("--config dataset_dir=above", "and above/rsna has it: give that folder"),
    ("--config dataset_dir=~/rsna", "dataset_dir is '~/rsna', and nothing replaces the ~ here: write /"),
    ("--config dataset_dir=s3://bucket/rsna", "dataset_dir is 's3://bucket/rsna', but must be a path: copy or mount"),
    ("--config dataset_dir=data output_dir=data/train_images/new", "are inside one another: write the results into"),
    ("convert --config dataset_dir=data output_dir=.", "output_dir . and the data set data are inside one another"),
    ("--config dataset_dir=no_table", "dataset_dir no_table lacks train.csv: it must contain"),
    ("--config dataset_dir=renamed", "dataset_dir renamed lacks train.csv, but has Train.csv: rename it to train.csv"),
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
    ("convert --config dataset_dir=twice", "train.csv line 3: StudyInstanceUID 1.2.3 occurs a second time: remove one"),
    ("convert --config dataset_dir=yes", "train.csv line 2: patient_overall is 'yes', it must be 0 or 1"),
    ("convert --config dataset_dir=excel", "train.csv line 2: StudyInstanceUID is '1.2826E+12', it must be a UID"),
    ("convert --config dataset_dir=mixed", "train.csv line 2 has 8 fields, the header has 9: correct it"),
    ("convert --config dataset_dir=utf16", "train.csv cannot be read as a table (it is in UTF-16): save it as CSV in"),
    (
        "convert --config dataset_dir=stranger",
        "train_bounding_boxes.csv line 2: study 9.9 is not in train.csv: remove the line",
    ),
    ("convert --config dataset_dir=header", "train.csv lists no study: write a line for each folder of train_images"),
    ("convert --config dataset_dir=flat", "flat/train_images has no folder that is named like a study of train.csv"),
    ("convert --config dataset_dir=patients", "patients/train_images has no folder that is named like a study of tra"),
    ("convert --config dataset_dir=tested", "has folders for 1 of the studies of train.csv, fewer than classif"),
    (
        "segmentation --config dataset_dir=tested pretrained=none",
        "for 0 studies of train.csv (1 with another name or format), fewer than segmentation.folds, w",
    ),
    ("predict --config dataset_dir=tested bundle=whole", "test.csv line 2: row_id is not 1.2.4_C2: correct it"),
    ("--config dataset_dir=data folds_csv=nope.csv", "nope.csv cannot be read as a table (No such file"),
    ("--config dataset_dir=data folds_csv=data", "data cannot be read as a table (Is a directory): give a CSV file"),
    (
        "--config dataset_dir=data folds_csv=columns.csv",
        "columns.csv, read with commas between its fields, lacks",
    ),
    ("--config dataset_dir=data folds_csv=repeated.csv", "repeated.csv line 3: StudyInstanceUID 1.2.3 occurs a second"),
    ("--config dataset_dir=data folds_csv=words.csv", "words.csv line 2: fold is 'train', it must be a whole number"),
    (
        "--config dataset_dir=data folds_csv=nine.csv",
        "nine.csv line 2: fold is '9', it must be a whole number from 0",
    ),
    (
        "--config dataset_dir=data folds_csv=others.csv",
        "others.csv names no study of train.csv: give the folds",
    ),
    ("--config dataset_dir=data pretrained=nope", "pretrained is nope, but nope is not there: put the file "),
    ("--config dataset_dir=data pretrained=weights", "is not there: put the file ircsn_ig65m_pretrained_"),
    ("--config dataset_dir=data pretrained=weights/readme.txt", "weights/readme.txt is another file than ircsn_ig65m"),
    ("--config dataset_dir=data pretrained=ftp://host/x", "neither a path nor a file://, http:// or https:// URL"),
    (
        "--config dataset_dir=data pretrained=http://",
        "pretrained: http:// names no host: write http://HOST/FOLDER, or a",
    ),
    ("--config dataset_dir=data pretrained=http://host:99999/x", "pretrained: http://host:99999/x is not an address"),
    ("--config dataset_dir=data pretrained=none predict_dir=nope", "predict_dir nope is not a folder: set predict_dir"),
    ("--config dataset_dir=data init_bundle=nope", "init_bundle nope is not a bundle: it has no bundle.json"),
    (
        "predict --config predict_dir= bundle=whole",
        "neither predict_dir nor dataset_dir is set: name the folder that hold",
    ),
    (
        "predict --config predict_dir=studies bundle=file",
        "bundle file is not a bundle: give its folder, or the .zip that",
    ),
    ("predict --config predict_dir=studies", "neither bundle nor dataset_dir is set: name the bundle that predicts"),
    ("predict --config predict_dir=studies bundle=nope", "bundle nope is not a bundle: it has no bundle.json"),
    ("predict --config predict_dir=studies bundle=broken", "broken/bundle.json is damaged: copy the bundle again"),
    (
        "predict --config predict_dir=studies bundle=old",
        "old/bundle.json has the version 7, and this spine",
    ),
    (
        "predict --config predict_dir=archive.zip bundle=whole",
        "predict_dir archive.zip is not a folder: set",
    ),
    (
        "predict --config predict_dir=studies bundle=whole prediction='{members: [irr]}'",
        "irr fits no network of whole",
    ),
    ("predict --config bundle=whole dataset_dir=data", "there is no folder data/test_images: set predict_dir to the"),
    (
        "--config dataset_dir=data segmentation_bundle=data",
        "segmentation_bundle data is not a bundle: it has",
    ),
    (
        "predict --config predict_dir=studies bundle=whole prediction='{series_csv: series.csv}'",
        "series.csv line 2: series is 'first', it must be a UID",
    ),
    ("--config segmentation=1", "segmentation is 1, but must be a group of keys"),
    ("--config segmentation={gpus:1}", "key 'segmentation.gpus:1' is unknown: write a space after the colon, gpus: 1"),
    ("--configfile FOLDER/again.yaml", "again.yaml line 3 cannot be read as YAML (the key 'classification' occurs a s"),
    ("--configfile FOLDER/against.yaml", "classification.folds is 5, but must be at most classification.fold_parts"),
    ("--configfile FOLDER/generated.yaml", "dataset_dir is 'data', but must be empty while phantom.enabled is true"),
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
    (folder / "utf16/train.csv").write_text(TRAIN, encoding="utf-16")
    write_description(folder / "whole")
    return folder


@pytest.fixture(scope="session")
def described_bundle(tmp_path_factory):
    """The folder of a bundle whose description can be read, and whose networks are not there."""
    folder = tmp_path_factory.mktemp("bundle") / "described"
    write_description(folder)
    return folder


@pytest.fixture(scope="session")
def plans(folder):
    """What Snakemake says to each of PLANS: exit status and output."""
    fixed = ["--dry-run", "--cores", "1", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    arguments = [[*fixed, *shlex.split(line.replace("FOLDER", str(folder)))] for line, _ in PLANS]
    process = subprocess.run(
        [sys.executable, "-m", "tests.workflow.planned_in_turn"],
        cwd=ROOT,
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip([line for line, _ in PLANS], json.loads(process.stdout), strict=True))


@pytest.mark.parametrize(("line", "sentence"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_a_mistake_on_the_command_line_is_one_sentence(line, sentence, folder, described_bundle, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(line.replace("BUNDLE", str(described_bundle))))
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


@pytest.mark.parametrize(
    "line",
    [
        "--workflow-profile none evaluate",
        "--workflow-profile profiles/slurm evaluate",
        "--workflow-profile=slurm evaluate",
        "--workflow-profile mine evaluate",
        "--profile profiles/slurm evaluate",
        "--profile=none evaluate",
        "--profile of-user evaluate",
    ],
)
def test_a_profile_that_snakemake_finds_is_passed_on_and_the_word_behind_it_is_a_target(line, tmp_path, monkeypatch):
    """A name may be of a profile below the current folder, of the workflow or of the user."""
    (tmp_path / "profiles/mine").mkdir(parents=True)
    (tmp_path / "user/of-user").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "snakemake.common.get_appdirs",
        lambda: SimpleNamespace(user_config_dir=str(tmp_path / "user"), site_config_dir=str(tmp_path / "site")),
    )
    words = checked_arguments(line.split(), ROOT)
    assert words[-1] == "evaluate"
    with pytest.raises(UserError, match="'evalute' is not a rule"):
        checked_arguments(line.replace("evaluate", "evalute").split(), ROOT)


@pytest.mark.parametrize("line", ["workflow -- -n", "resources", "why RUN"])
def test_a_current_folder_that_was_removed_is_one_sentence(line, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    program = "import os, sys; os.rmdir(os.getcwd()); from spine_models.commands.app import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, *line.replace("RUN", str(tmp_path)).split()]
    done = subprocess.run(command, cwd=gone, capture_output=True, text=True, check=False, env=_with_checkout())
    assert done.returncode == 1
    assert done.stderr == "error: the current folder was removed: change into one that is there (cd)\n"


LOCKED = [
    ("check locked", "path 'locked' is not readable"),
    (
        "predict --bundle BUNDLE --studies studies --out locked/new",
        "--out locked/new cannot be written (Perm",
    ),
    ("resources --configfile locked/x.yaml", "locked/x.yaml cannot be read as an overlay (Permission denied)"),
    (
        "workflow -- --dry-run --config dataset_dir=locked",
        "locked/train_images cannot be read or written (Permiss",
    ),
    ("workflow -- --dry-run --config dataset_dir=data output_dir=locked", "locked/accepted.json cannot be read or wri"),
]


@pytest.mark.parametrize(("line", "sentence"), LOCKED, ids=[line for line, _ in LOCKED])
def test_what_may_not_be_read_or_written_is_named(line, sentence, described_bundle, tmp_path):
    """Root may read everything, unless it gives up the right to."""
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    if as_others and not shutil.which("setpriv"):
        pytest.skip("root may read everything, and setpriv is not installed")
    for name in ("data/train.csv", "data/train_images/1.2.3/1.dcm", "studies/one/1.dcm"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(FILES[name])
    (tmp_path / "locked").mkdir(mode=0)
    command = [*as_others, sys.executable, "-m", "spine_models", *line.replace("BUNDLE", str(described_bundle)).split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=_with_checkout())
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == done.stderr.splitlines()[-1:]
    assert sentence in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_control_c_is_one_sentence_whatever_the_processes(threads, tmp_path):
    command = [
        sys.executable,
        "-m",
        "spine_models",
        "phantom",
        "--out",
        "new",
        "--studies",
        "200",
        "--threads",
        threads,
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, env=_with_checkout()
    )
    while not list(tmp_path.glob("new/train_images/*/*")):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (
        130,
        "error: interrupted: run the same command again, which keeps what is finished\n",
    )


def _with_checkout():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("", "found no Python 3.11, 3.12 or 3.13: install one, or name it (make PYTHON=/path/to/python3.12)"),
        ("python3.99", "python3.99 is not there, or not Python 3.11, 3.12 or 3.13: name one of these (make PYTHON="),
        ("./older", "./older is not there, or not Python 3.11, 3.12 or 3.13: name one of these (make PYTHON=/path"),
    ],
)
def test_make_names_the_versions_of_python_before_it_removes_the_environment(python, sentence, tmp_path):
    for name in ("Makefile", "requirements.lock", "requirements-torch.txt"):
        shutil.copy(ROOT / name, tmp_path)
    older = tmp_path / "older"
    older.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10); $2"\n')
    older.chmod(0o755)
    command = ["make", "--always-make", ".venv", f"PYTHON={python}"]
    (tmp_path / ".venv").mkdir()
    # The suite itself is started by make, whose variables would make this one a part of it.
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {sentence}")
    assert (tmp_path / ".venv").is_dir()


def test_pip_names_the_same_versions_as_make():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    allowed = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(wanted)]
    assert f"not Python {', '.join(allowed[:-1])} or {allowed[-1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_there_are_forty_of_them():
    assert len({line for line, _ in [*COMMANDS, *PLANS]}) >= 40
