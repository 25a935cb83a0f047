"""Folders whose names a shell, Snakemake or a command line would take for something else: nothing in them runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spine_models.data.dataset.index import read_index
from tests.data.dicom_builder import write_stack

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ("Snakefile", "config.yaml", "rules", "envs", "workflow_scripts", "spine_models")
STUDY = "1.2.826.0.1.7"
NAMES = [
    "$(touch ran)",
    "`touch ran`",
    "a; touch ran; #",
    'it\'s "quoted" \\ twice',
    "two  spaces & $HOME * ? [x] !x | >ran",
    "-n",
    "Größe 頸椎",
]


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory):
    """A copy of the workflow in a folder of each name that is asked for."""

    def copy(name):
        folder = tmp_path_factory.mktemp("checkouts") / name
        for part in WORKFLOW:
            source = ROOT / part
            ignore = shutil.ignore_patterns("__pycache__")
            folder.mkdir(exist_ok=True)
            shutil.copytree(source, folder / part, ignore=ignore) if source.is_dir() else shutil.copy(source, folder)
        return folder

    return copy


def index(checkout, folder, dataset, output):
    """Run the first data rule with the workflow in ``checkout``, from ``folder``."""
    command = [
        str(Path(sys.executable).with_name("snakemake")),
        "--snakefile",
        str(checkout / "Snakefile"),
        "--cores",
        "1",
    ]
    given = {"dataset_dir": dataset, "output_dir": output, "shards": 1, "pretrained": "none"}
    overlay = folder.parent / f"{folder.name}.yaml"
    overlay.write_text(json.dumps(given))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command += ["--configfile", str(overlay), "--", f"{output}/index/0.csv"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name(tmp_path, checkouts, name):
    dataset, checkout = tmp_path / name, checkouts(name)
    write_stack(dataset / "train_images" / STUDY, StudyInstanceUID=STUDY)
    (dataset / "segmentations").mkdir()
    (dataset / "train.csv").write_text(
        f"StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7\n{STUDY},1,1,0,0,0,0,0,0\n"
    )
    (dataset / "train_bounding_boxes.csv").write_text("StudyInstanceUID,x,y,width,height,slice_number\n")
    output = tmp_path / f"out {name}"
    # A module of the folder that Snakemake is called from is not the library's.
    (tmp_path / "csv.py").write_text("open('ran', 'w')")
    process = index(checkout, tmp_path, name, output.name)
    assert process.returncode == 0, process.stderr[-3000:]
    assert [row.study for row in read_index(output / "index" / "0.csv")] == [STUDY]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, output.name, "csv.py", ".snakemake"])
    assert not (checkout / "ran").exists()


@pytest.mark.parametrize("name", ["{", "a}b", "{study}", "<input>"])
def test_a_name_that_snakemake_takes_for_a_wildcard_is_refused(tmp_path, name):
    process = index(ROOT, tmp_path, "data", name)
    assert process.returncode == 1
    assert "for a part of a wildcard: rename the folder, or name it through a link" in process.stderr
    assert "Traceback" not in process.stderr
