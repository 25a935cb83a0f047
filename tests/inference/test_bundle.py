"""Export and checks of a bundle: what was changed anywhere is noticed and named."""

import json
import shutil
from dataclasses import asdict

import pytest
import torch

from spine_models.errors import UserError
from spine_models.inference.bundle import DESCRIPTION, load_bundle
from spine_models.inference.export_bundle import ExportInputs, export_bundle
from spine_models.models.weights import load_model, load_state, save_state
from spine_models.provenance.acceptance import Acceptance, write_acceptances
from spine_models.provenance.canonical import digest_file, digest_json
from tests.inference.conftest import SETTINGS


def test_round_trip(bundle_folder, networks):
    bundle = load_bundle(bundle_folder)
    assert [entry.name for entry in bundle.segmentation] == ["csn_unet-0"]
    assert [entry.name for entry in bundle.classification] == ["ir-0", "ip-0"]
    assert bundle.settings["crops"] == SETTINGS.crops
    assert bundle.settings["hu_limits"] == [-1024, 3071]
    assert bundle.phantom is True
    # overall: shares 14/22, 1/2, 1/2: 0.63636 / 1.63636; C2: 2/22 / (2/22 + 2/14); never seen: 0.01.
    assert bundle.prior["patient_overall"] == pytest.approx(0.388889, abs=1e-6)
    assert bundle.prior["C2"] == pytest.approx(0.388889, abs=1e-6)
    assert bundle.prior["C1"] == 0.01
    original, _ = load_model(networks["classification"][1], "classification")
    copied = bundle.load_classifiers()[1]
    assert not copied.training
    weights = copied.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in original.state_dict().items())
    assert len(bundle.load_segmentation()) == 1


def test_the_same_inputs_give_the_same_bytes(tmp_path, bundle_folder, networks, train_csv):
    again = tmp_path / "again" / DESCRIPTION
    export_bundle(ExportInputs(**networks, train_csv=train_csv), SETTINGS, code="code", out=again)
    for path in bundle_folder.iterdir():
        assert (again.parent / path.name).read_bytes() == path.read_bytes()


def test_it_names_what_was_accepted_in_its_run(tmp_path, networks, train_csv):
    line = Acceptance("train_classifier", "new", "old", None, "renamed")
    write_acceptances(tmp_path, [line])
    inputs = ExportInputs(**networks, train_csv=train_csv, output_dir=tmp_path)
    export_bundle(inputs, SETTINGS, code="code", out=tmp_path / "bundle" / DESCRIPTION)
    assert load_bundle(tmp_path / "bundle").provenance["accepted"] == [asdict(line)]


def test_it_needs_nothing_outside_its_folder(tmp_path, bundle_folder):
    moved = tmp_path / "elsewhere"
    shutil.move(bundle_folder, moved)
    assert len(load_bundle(moved / DESCRIPTION).load_classifiers()) == 2
    assert str(tmp_path) not in (moved / DESCRIPTION).read_text()
    assert {path.suffix for path in moved.iterdir()} == {".json", ".safetensors"}


def test_export_removes_networks_of_an_earlier_export(bundle_folder, networks, train_csv):
    inputs = ExportInputs(networks["segmentation"], networks["classification"][:1], train_csv)
    export_bundle(inputs, SETTINGS, code="", out=bundle_folder / DESCRIPTION)
    assert len(load_bundle(bundle_folder).classification) == 1
    assert len(list(bundle_folder.glob("*.safetensors"))) == 2


@pytest.mark.parametrize("position", [0, 0.5, -1])
@pytest.mark.parametrize("pattern", ["segmentation-*", "classification-ip*"])
def test_one_changed_bit_of_a_network(bundle_folder, pattern, position):
    path = next(bundle_folder.glob(pattern))
    content = bytearray(path.read_bytes())
    content[int(position * len(content)) if position != -1 else -1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path.name} differs from its checksum"):
        load_bundle(bundle_folder)


def test_missing_network(bundle_folder):
    next(bundle_folder.glob("classification-ir*")).unlink()
    with pytest.raises(UserError, match=r"classification-ir-0.safetensors is missing"):
        load_bundle(bundle_folder)


def test_changed_description(bundle_folder):
    path = bundle_folder / DESCRIPTION
    path.write_text(path.read_text().replace('"C1": 0.01', '"C1": 0.02'))
    with pytest.raises(UserError, match="differs from its own checksum"):
        load_bundle(bundle_folder)


def _rewrite(folder, **changes):
    path = folder / DESCRIPTION
    content = json.loads(path.read_text()) | changes
    content.pop("digest")
    path.write_text(json.dumps(content | {"digest": digest_json(content)}))


def test_unknown_version_missing_key_and_foreign_path(bundle_folder):
    entry = json.loads((bundle_folder / DESCRIPTION).read_text())["segmentation"][0]
    _rewrite(bundle_folder, schema=99)
    with pytest.raises(UserError, match="has the version 99"):
        load_bundle(bundle_folder)
    _rewrite(bundle_folder, schema=2, prior={})
    with pytest.raises(UserError, match="incomplete"):
        load_bundle(bundle_folder)
    prior = dict.fromkeys(["patient_overall", *(f"C{i}" for i in range(1, 8))], 0.5)
    _rewrite(bundle_folder, prior=prior, segmentation=[entry | {"file": "../unet.safetensors"}])
    with pytest.raises(UserError, match="outside the bundle"):
        load_bundle(bundle_folder)
    _rewrite(bundle_folder, levels=["C1"])
    with pytest.raises(UserError, match="other targets or levels"):
        load_bundle(bundle_folder)


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(UserError, match="is no bundle"):
        load_bundle(tmp_path)
    (tmp_path / DESCRIPTION).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        load_bundle(tmp_path)


def test_swapped_kinds_are_refused(tmp_path, networks, train_csv):
    classifiers = networks["classification"]
    for segmentation, sentence in ((classifiers, "not csn_unet"), ([], "at least one")):
        inputs = ExportInputs(segmentation, classifiers, train_csv)
        with pytest.raises(UserError, match=sentence):
            export_bundle(inputs, SETTINGS, code="", out=tmp_path / DESCRIPTION)


def test_segmentation_networks_of_another_bundle(tmp_path, bundle_folder, networks, train_csv):
    out = tmp_path / "second" / DESCRIPTION
    inputs = ExportInputs([bundle_folder / DESCRIPTION], networks["classification"], train_csv)
    export_bundle(inputs, SETTINGS, code="", out=out)
    assert load_bundle(out).segmentation == load_bundle(bundle_folder).segmentation


def test_a_bundle_of_release_0_1(bundle_folder):
    """Its version is 1, plausibility is called identity in it, and its classifiers name their mode a variant."""
    today = load_bundle(bundle_folder)
    content = json.loads((bundle_folder / DESCRIPTION).read_text())
    for entry in content["classification"]:
        path = bundle_folder / entry["file"]
        state, description = load_state(path)
        settings = {"variant" if name == "mode" else name: value for name, value in description["settings"].items()}
        save_state(path, state, {"kind": "csn_classifier", "settings": settings, "provenance": {}})
        entry |= {"bytes": path.stat().st_size, "sha256": digest_file(path)}
    settings = content["settings"]
    settings["identity"] = settings.pop("plausibility")
    _rewrite(bundle_folder, schema=1, settings=settings, classification=content["classification"])
    bundle = load_bundle(bundle_folder)
    assert bundle.settings == today.settings
    assert [entry.name for entry in bundle.classification] == [entry.name for entry in today.classification]
    assert [network.settings.mode for network in bundle.load_classifiers()] == ["ir", "ip"]
