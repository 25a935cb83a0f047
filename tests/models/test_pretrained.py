"""Published weights: loaded key by key from a checkpoint that mmaction2's own recogniser wrote, or not at all."""

import ast
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from spine_models.errors import UserError
from spine_models.models.checkpoint_files import read_checkpoint
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.csn import CsnBackbone, CsnSettings
from spine_models.models.pretrained import PretrainedReport, load_pretrained
from spine_models.models.pretrained_download import fetch
from spine_models.provenance.canonical import digest_file

CONFIGS = {
    ("ir", 50): "ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb.py",
    ("ir", 152): "ircsn_ig65m-pretrained-r152_8xb12-32x2x1-58e_kinetics400-rgb.py",
    ("ip", 152): "ipcsn_ig65m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb.py",
}


@dataclass(frozen=True)
class Published:
    settings: CsnSettings
    path: Path
    state: dict[str, torch.Tensor]
    clip: torch.Tensor
    features: list[torch.Tensor]


@pytest.fixture(scope="module", params=[("ir", 50, 64), ("ir", 152, 8), ("ip", 152, 8)], ids=lambda p: f"{p[0]}-{p[1]}")
def published(request, tmp_path_factory) -> Published:
    variant, depth, width = request.param
    folder = tmp_path_factory.mktemp("published")
    script = Path(__file__).with_name("recognizer.py")
    subprocess.run([sys.executable, script, CONFIGS[variant, depth], str(width), folder], check=True)
    state = torch.load(folder / "checkpoint.pth", weights_only=True)["state_dict"]
    features = torch.load(folder / "features.pt", weights_only=True)
    settings = CsnSettings(variant, depth, width)
    return Published(settings, folder / "checkpoint.pth", state, features["clip"], features["features"])


def test_every_key_is_loaded_but_the_head(published):
    backbone = CsnBackbone(published.settings)
    report = load_pretrained(backbone, published.path)
    own = backbone.state_dict()
    assert set(report.loaded) == set(own)
    assert set(report.unexpected) == {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"}
    assert report.missing == ()
    assert {f"backbone.{name}" for name in own} | set(report.unexpected) == set(published.state)
    assert all(torch.equal(own[name], published.state[f"backbone.{name}"]) for name in own)


def test_features_equal_those_of_the_recogniser_when_served_over_http(published, tmp_path):
    backbone = CsnBackbone(published.settings)
    name = f"published-{digest_file(published.path)[:8]}.pth"
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    shutil.copyfile(published.path, tmp_path / name)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        fetch(name, tmp_path / "pretrained" / name, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    load_pretrained(backbone, tmp_path / "pretrained" / name)
    with torch.no_grad():
        features = backbone.eval()(published.clip)
    for one, other in zip(features[1:], published.features, strict=True):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory) -> Path:
    """A checkpoint in the published layout, with the shape of a narrow ir-50."""
    torch.manual_seed(0)
    backbone = CsnBackbone(CsnSettings("ir", 50, 8))
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    state["cls_head.fc_cls.weight"] = torch.zeros(400, 256)
    path = tmp_path_factory.mktemp("narrow") / "narrow.pth"
    torch.save({"meta": {}, "state_dict": state}, path)
    return path


def saved_with(narrow: Path, path: Path, **changes: object) -> Path:
    content = torch.load(narrow, weights_only=True)
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del content["state_dict"][key]
        else:
            content["state_dict"][key] = value
    torch.save(content, path)
    return path


def load(path: Path) -> CsnBackbone:
    backbone = CsnBackbone(CsnSettings("ir", 50, 8))
    load_pretrained(backbone, path)
    return backbone


def assert_same_weights(one: CsnBackbone, other: CsnBackbone) -> None:
    weights, others = one.state_dict(), other.state_dict()
    assert weights.keys() == others.keys()
    assert [name for name in weights if not torch.equal(weights[name], others[name])] == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"backbone__conv1__conv__weight": None}, "conv1.conv.weight is missing"),
        ({"backbone__layer2__0__conv1__bn__running_var": None}, "running_var is missing"),
        ({"backbone__layer5__weight": torch.zeros(1)}, "backbone.layer5.weight is not expected"),
        ({"neck__weight": torch.zeros(1)}, "neck.weight is not expected"),
        ({"backbone__conv1__conv__weight": torch.zeros(8, 3, 3, 3, 3)}, r"has the shape \(8, 3, 3, 3, 3\)"),
    ],
)
def test_anything_but_the_head_is_an_error_and_nothing_is_loaded(narrow, tmp_path, changes, sentence):
    backbone = CsnBackbone(CsnSettings("ir", 50, 8))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=sentence):
        load_pretrained(backbone, saved_with(narrow, tmp_path / "c.pth", **changes))
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_a_checkpoint_of_another_variant_or_depth_is_refused(narrow):
    for settings in (CsnSettings("ip", 50, 8), CsnSettings("ir", 101, 8), CsnSettings("ir", 50, 16)):
        with pytest.raises(UserError, match="does not hold the weights of this encoder"):
            load_pretrained(CsnBackbone(settings), narrow)


def test_a_missing_batch_count_is_reported_and_zero(narrow, tmp_path):
    path = saved_with(narrow, tmp_path / "c.pth", backbone__conv1__bn__num_batches_tracked=None)
    backbone = CsnBackbone(CsnSettings("ir", 50, 8))
    backbone.conv1.bn.num_batches_tracked.fill_(5)
    assert load_pretrained(backbone, path).missing == ("conv1.bn.num_batches_tracked",)
    assert backbone.conv1.bn.num_batches_tracked == 0


def test_weights_reach_a_whole_network(narrow):
    network = CsnClassifier(ClassifierSettings("ir", 50, 8), freeze_bn=True)
    load_pretrained(network.backbone, narrow)
    expected = read_checkpoint(narrow)["backbone.layer4.2.conv3.conv.weight"]
    assert torch.equal(network.backbone.layer4[2].conv3.conv.weight, expected)


def test_without_a_file_the_sentence_says_where_it_would_come_from(tmp_path):
    with pytest.raises(UserError, match=r"none.pth does not exist: run the rule fetch_pretrained"):
        load(tmp_path / "none.pth")


def test_the_report_names_what_was_left_out():
    said = PretrainedReport(("a", "b"), ("cls_head.fc_cls.weight",), ()).sentence()
    assert said == "2 tensors of the published weights loaded; not expected: cls_head.fc_cls.weight; missing: nothing"


def test_nothing_is_unpickled_with_its_code():
    root = Path(__file__).parents[2]
    files = [path for folder in ("spine_models", "workflow_scripts") for path in (root / folder).rglob("*.py")]
    calls = [node for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert calls
    for call in calls:
        safe = any(word.arg == "weights_only" and word.value.value is True for word in call.keywords)
        name = ast.unparse(call.func)
        assert name not in ("pickle.load", "pickle.loads", "torch.jit.load")
        assert safe or name not in ("torch.load", "trainer.fit")
