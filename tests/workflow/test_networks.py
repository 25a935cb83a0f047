"""Two more networks beside ir and ip, from their training to a prediction with the bundle.

``ir50`` is an edit of YAML alone; ``toy`` is another architecture: one module and one line in the registry.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.finished_run import PARTS, copy_project, make_data, overlay, run
from tests.workflow.runs import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("networks")]
REGISTRY = "spine_models/models/networks.py"
BEGINNING = "KINDS: dict[str, Kind] = {\n"
LINE = (
    '    "toy": Kind("spine_models.models.toy", "Toy", "classification", (2, 4), '
    '{"width": {"type": "integer", "minimum": 1, "description": "Of the toy."}}),\n'
)
COMMON = {"weights": "none", "folds": 1, "draws_per_study": 2, "freeze_bn": False, "average": 1}
CSN = {"kind": "csn", "mode": "ir", "depth": 50, "base_channels": 8, "dropout": 0.1}
VARIANTS = {"ir50": {**COMMON, "network": CSN}, "toy": {**COMMON, "network": {"kind": "toy", "width": 4}}}
OTHERS = {"ir": {"folds": 1, "average": 1}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, jobs):
    """The project with the toy, and its working directory after a run of every rule, prediction included."""
    folder = tmp_path_factory.mktemp("networks")
    project, work = folder / "project", folder / "work"
    copy_project(project)
    shutil.copy(Path(__file__).with_name("toy_network.py"), project / "spine_models/models/toy.py")
    registry = (project / REGISTRY).read_text()
    (project / REGISTRY).write_text(registry.replace(BEGINNING, BEGINNING + LINE))
    make_data(work / "data")
    changes = {
        "predict_dir": "data/train_images",
        "prediction": {"shards": 1},
        "classification": {"training": {"epochs": 1}, "variants": VARIANTS | OTHERS},
    }
    (work / "overlay.yaml").write_text(yaml.safe_dump(overlay(changes)))
    process = run(project, work, "--cores", "2", **jobs)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    return project, work


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for part in PARTS for path in (folder / part).rglob("*.py")}


def test_a_network_is_one_module_and_one_line(finished):
    project, _ = finished
    before, after = files(ROOT), files(project)
    changed = {str(path) for path, content in after.items() if before.get(path) != content}
    assert changed == {REGISTRY, "spine_models/models/toy.py"}
    assert after[Path(REGISTRY)].replace(LINE.encode(), b"") == before[Path(REGISTRY)]


@pytest.mark.parametrize("variant", ["ir", "ip", "ir50", "toy"])
def test_every_variant_is_trained_judged_and_predicts(finished, variant):
    out = finished[1] / "results"
    metrics = json.loads((out / "evaluation/metrics.json").read_text())
    assert variant in metrics["classification"]["per_variant"]
    assert "fold0" in metrics["averaging"][variant]
    bundle = json.loads((out / "bundle/bundle.json").read_text())
    assert f"classification-{variant}-0.safetensors" in {entry["file"] for entry in bundle["classification"]}
    manifest = json.loads((out / "predictions/0.json").read_text())
    assert manifest
    records = list((out / "predictions/0").rglob("*.json"))
    models = [json.loads(path.read_text()).get("facts", {}).get("models", {}) for path in records]
    assert any(f"{variant}-0" in found for found in models)
    assert f"{variant}, fold 0" in (out / "report/index.html").read_text()


def test_the_answer_is_the_mean_over_all_four(finished):
    with (finished[1] / "results/predictions/predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(list((finished[1] / "data/train_images").iterdir()))
