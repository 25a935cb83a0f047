"""Export and checks of a bundle: what was changed anywhere is noticed and named."""

import errno
import json
import re
import shutil
from dataclasses import asdict
from functools import reduce

import pytest
import torch

from spine_models.commands.bundle import described
from spine_models.data.training_facts import MEASURES
from spine_models.errors import UserError
from spine_models.evaluation import operating_points
from spine_models.evaluation.operating_points import SCOPES
from spine_models.inference import bundle as bundles
from spine_models.inference.bundle import load_bundle
from spine_models.inference.bundle_description import DESCRIPTION, read_description, require_members
from spine_models.inference.bundle_networks import load_classifiers, load_segmentation
from spine_models.inference.export_bundle import ExportInputs, export_bundle
from spine_models.inference.solution_settings import OUR_SETTINGS
from spine_models.levels import TARGETS
from spine_models.models.weights import load_model, load_state, save_state
from spine_models.provenance.acceptance import Acceptance, write_acceptances
from spine_models.provenance.canonical import digest_file
from tests.bundle_files import change_description, entry, write_description
from tests.inference.conftest import SETTINGS
from tests.vouching import published


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
    copied = load_classifiers(bundle)[1]
    assert not copied.training
    weights = copied.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in original.state_dict().items())
    assert len(load_segmentation(bundle)) == 1


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


POINT = {
    "threshold": 0.25,
    "sensitivity": 0.9,
    "specificity": 0.5,
    "sensitivity_ci95": [0.7, 1.0],
    "specificity_ci95": None,
    "positives": 9,
    "negatives": 40,
}
POINTS = {
    "points": {name: {"patient_overall": POINT, "vertebra": POINT} for name in operating_points.POINTS},
    "members": [],
    "flips": ["none"],
    "precisions": ["fp32"],
    "studies": 49,
}


LEARNT = {"studies": 3, "measures": {name: [0, 1, 2, 3, 4] for name in MEASURES}, "vendors": {"Acme": 3}}


def test_operating_points_of_the_evaluation_get_the_names_of_the_classifiers(tmp_path, networks, train_csv):
    metrics = tmp_path / "metrics.json"
    figures = {
        "n_studies": 49,
        "competition_loss": 0.4,
        "competition_loss_ci95": [0.3, 0.5],
        "prior_loss": 0.55,
        "auc": {},
        "auc_ci95": {},
    }
    metrics.write_text(json.dumps({"classification": {"operating_points": POINTS, **figures}}))
    published(metrics)
    inputs = ExportInputs(**networks, train_csv=train_csv, metrics=metrics)
    export_bundle(inputs, SETTINGS, code="code", out=tmp_path / "bundle" / DESCRIPTION)
    found = load_bundle(tmp_path / "bundle").operating_points
    assert found.to_json() == POINTS | {"members": ["ir-0", "ip-0"]}
    stated = "challenge loss of 49 studies: 0.400 (95 % interval 0.300 to 0.500)"
    assert stated in (tmp_path / "bundle/model_card.md").read_text()
    assert stated in described(read_description(tmp_path / "bundle"))
    metrics.write_text(json.dumps({"classification": {"operating_points": None}}))
    with pytest.raises(UserError, match=r"metrics.json differs from its record: run `snakemake --force"):
        export_bundle(inputs, SETTINGS, code="code", out=tmp_path / "bundle" / DESCRIPTION)


def test_without_an_evaluation_a_bundle_knows_no_operating_points(bundle_folder):
    assert load_bundle(bundle_folder).operating_points is None
    lines = described(read_description(bundle_folder)).splitlines()
    assert "out of fold       no figures known" in lines
    assert "operating points  none known" in lines


@pytest.mark.parametrize(
    ("members", "segmentation", "classification"),
    [
        ([], ["csn_unet-0"], ["ir-0", "ip-0"]),
        (["ir"], ["csn_unet-0"], ["ir-0"]),
        (["ip-0"], ["csn_unet-0"], ["ip-0"]),
        (["ip-0", "ir"], ["csn_unet-0"], ["ir-0", "ip-0"]),
        (["csn_unet-0"], ["csn_unet-0"], ["ir-0", "ip-0"]),
    ],
)
def test_some_of_the_networks(bundle_folder, members, segmentation, classification):
    bundle = load_bundle(bundle_folder).only(members)
    assert [entry.name for entry in bundle.segmentation] == segmentation
    assert [entry.name for entry in bundle.classification] == classification


@pytest.mark.parametrize("member", ["", "ir-1", "i", "IR"])
def test_a_name_that_fits_no_network(bundle_folder, member):
    with pytest.raises(UserError, match=r"fits no network of .*: it has ir-0, ip-0, csn_unet-0"):
        require_members(bundle_folder, ["ir", member])


def test_it_needs_nothing_outside_its_folder(tmp_path, bundle_folder):
    moved = tmp_path / "elsewhere"
    shutil.move(bundle_folder, moved)
    assert len(load_classifiers(load_bundle(moved / DESCRIPTION))) == 2
    assert str(tmp_path) not in (moved / DESCRIPTION).read_text()
    assert {path.suffix for path in moved.iterdir()} == {".json", ".md", ".safetensors"}


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


def test_unknown_version_missing_key_and_foreign_path(bundle_folder):
    entry = json.loads((bundle_folder / DESCRIPTION).read_text())["segmentation"][0]
    change_description(bundle_folder, schema=99)
    with pytest.raises(UserError, match="has the version 99"):
        load_bundle(bundle_folder)
    change_description(bundle_folder, schema=2, prior={})
    with pytest.raises(UserError, match=r"cannot be used: key 'prior.patient_overall' is missing"):
        load_bundle(bundle_folder)
    prior = dict.fromkeys(["patient_overall", *(f"C{i}" for i in range(1, 8))], 0.5)
    change_description(bundle_folder, prior=prior, segmentation=[entry | {"file": "../unet.safetensors"}])
    with pytest.raises(UserError, match="not a plain file name, or that of a file outside"):
        load_bundle(bundle_folder)
    change_description(bundle_folder, levels=["C1"])
    with pytest.raises(UserError, match="other targets or levels"):
        load_bundle(bundle_folder)


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(UserError, match="is not a bundle"):
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
    for network in content["classification"]:
        path = bundle_folder / network["file"]
        state, description = load_state(path)
        settings = {"variant" if name == "mode" else name: value for name, value in description["settings"].items()}
        save_state(path, state, {"kind": "csn_classifier", "settings": settings, "provenance": {}})
        network |= {"bytes": path.stat().st_size, "sha256": digest_file(path)}
    settings = content["settings"]
    settings["identity"] = settings.pop("plausibility")
    change_description(bundle_folder, schema=1, settings=settings, classification=content["classification"])
    bundle = load_bundle(bundle_folder)
    assert bundle.settings == today.settings
    assert [entry.name for entry in bundle.classification] == [entry.name for entry in today.classification]
    assert [network.settings.mode for network in load_classifiers(bundle)] == ["ir", "ip"]


ABSURD = [
    ("z_step", -3, "z_step is -3, but must be an integer, at least 1"),
    ("z_step", 1.9, "z_step is 1.9, but must be an integer"),
    ("z_step", 2.0, "z_step is 2.0, but must be an integer"),
    ("z_step", "2", "z_step is '2', but must be an integer"),
    ("z_step", True, "z_step is true, but must be an integer"),
    ("z_step", 10**6, "at most 64"),
    ("half_size", 0, "half_size is 0"),
    ("half_size", 100, "a multiple of 32"),
    ("half_size", 1 << 30, "at most 2048"),
    ("hu_limits", [3071, -1024], "must hold -1000"),
    ("hu_limits", [-1024], "with 2 items"),
    ("hu_limits", "all", "hu_limits is 'all'"),
    ("clip", "never", "clip is 'never'"),
    ("windows", 3, "key 'windows' (value 3) is unknown"),
    ("crops", [], "crops is [], but must be a group of keys"),
    ("crops.depth", 0, "crops.depth is 0"),
    ("crops.size", 10**9, "crops.size is 1000000000"),
    ("crops.margin", -1, "crops.margin is -1"),
    ("crops.visible_fraction", 7, "visible_fraction is 7"),
    ("crops.min_voxels", 1 << 70, "crops.min_voxels has 22 digits"),
    ("crops.plane_fill", "water", "plane_fill is 'water'"),
    ("crops.depht", 8, "did you mean 'depth'"),
    ("inference.window", 0, "inference.window is 0"),
    ("inference.window", 36, "a multiple of 8"),
    ("inference.overlap", 32, "must be below inference.window"),
    ("inference.z_multiple", 24, "must be a multiple of inference.z_multiple"),
    ("inference.batch", 0, "inference.batch is 0"),
    ("inference.flips", [], "inference.flips is []"),
    ("inference.flips", ["none", "none"], "each item once"),
    ("inference.flips", ["upside down"], "one of none, horizontal"),
    ("plausibility.fallback", None, "plausibility.fallback is null"),
    ("plausibility.min_component_fraction", -0.1, "min_component_fraction is -0.1"),
    ("plausibility.stray_mm", -1, "stray_mm is -1"),
    ("crop_inference.flips", "none", "but must be a list"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), ABSURD, ids=[f"{key}={value}" for key, value, _ in ABSURD])
def test_an_absurd_setting_is_a_sentence(tmp_path, key, value, sentence):
    settings = json.loads(json.dumps(OUR_SETTINGS | {"inference": OUR_SETTINGS["inference"] | {"window": 32}}))
    settings["inference"] |= {"overlap": 8}
    write_description(tmp_path, settings=settings)
    read_description(tmp_path)
    *groups, last = key.split(".")
    reduce(dict.__getitem__, groups, settings)[last] = value
    write_description(tmp_path, settings=settings)
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        read_description(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


PRIOR = dict.fromkeys(TARGETS, 0.5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prior": PRIOR | {"C1": 7}}, "prior.C1 is 7, but must be a number, at least 0 and at most 1"),
        ({"prior": PRIOR | {"C1": "0.5"}}, "prior.C1 is '0.5'"),
        ({"prior": None}, "prior is null, but must hold a number"),
        ({"phantom": "no"}, "phantom is 'no', but must be true or false"),
        ({"segmentation": []}, "segmentation is []"),
        ({"classification": [entry("ir-0"), entry("ir-1") | {"name": "ir-0"}]}, "have the name 'ir-0'"),
        ({"classification": [entry("ir-0"), entry("ir-0") | {"name": "ir-1"}]}, "have the file 'ir-0.safetensors'"),
        ({"classification": [entry("ir-0") | {"name": "\x1b[2J"}]}, "characters that cannot be shown"),
        ({"classification": [entry("ir-0") | {"file": ".."}]}, "not a plain file name"),
        ({"classification": [entry("ir-0") | {"bytes": -1}]}, "bytes is -1"),
        ({"classification": [entry("ir-0") | {"bytes": 1 << 50}]}, "bytes is 1125899906842624"),
        ({"settings": None}, "settings is null"),
        ({"settings": {}}, "in its settings, key 'z_step' is missing"),
        ({"schema": True}, "has the version true"),
        ({"provenance": []}, "provenance is []"),
        ({"operating_points": []}, "operating_points is []"),
        ({"operating_points": POINTS | {"points": {}}}, "key 'operating_points.points.sensitivity_90' is missing"),
        ({"operating_points": POINTS | {"studies": -1}}, "operating_points.studies is -1"),
        (
            {"operating_points": POINTS | {"points": POINTS["points"] | {"youden": {"vertebra": POINT}}}},
            "key 'operating_points.points.youden.patient_overall' is missing",
        ),
        (
            {
                "operating_points": POINTS
                | {"points": POINTS["points"] | {"youden": dict.fromkeys(SCOPES, POINT | {"threshold": float(7)})}}
            },
            "threshold is 7",
        ),
        ({"provenance": {"a": [0] * 200_000}}, "more values than any description"),
        ({"training_data": []}, "training_data is []"),
        ({"training_data": LEARNT | {"studies": -1}}, "training_data.studies is -1"),
        ({"training_data": LEARNT | {"measures": {}}}, "key 'training_data.measures.step_mm' is missing"),
        (
            {"training_data": LEARNT | {"measures": LEARNT["measures"] | {"std_hu": [1, 2, 3, 2, 5]}}},
            "the quantiles of std_hu in training_data do not ascend",
        ),
        ({"training_data": LEARNT | {"vendors": {"\x1b[2J": 1}}}, "characters that cannot be shown, or too many"),
        ({"card": {"file": "../card.md", "bytes": 1, "sha256": "5" * 64, "name": "card"}}, "not a plain file name"),
    ],
)
def test_an_absurd_description_is_a_sentence(tmp_path, changes, sentence):
    write_description(tmp_path)
    read_description(tmp_path)
    write_description(tmp_path, **changes)
    with pytest.raises(UserError, match=re.escape(sentence)):
        read_description(tmp_path)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"schema": NaN}', '{"schema": 1' + "0" * 9000 + "}", "\xff", "null"])
def test_text_that_no_json_should_be_is_a_sentence(tmp_path, text):
    (tmp_path / DESCRIPTION).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"bundle.json is damaged"):
        read_description(tmp_path)


def test_a_description_of_a_gigabyte_is_not_read(tmp_path):
    with (tmp_path / DESCRIPTION).open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(UserError, match="has 1024 MB"):
        read_description(tmp_path)


def test_an_earlier_description_lacks_what_is_younger(tmp_path):
    settings = json.loads(json.dumps(OUR_SETTINGS))
    for section, key in (("crops", "z_fill"), ("plausibility", "stray_mm"), ("inference", "flips")):
        del settings[section][key]
    del settings["crop_inference"], settings["hu_limits"]
    write_description(tmp_path, settings=settings)
    assert read_description(tmp_path).settings == settings


def test_a_disk_that_fails_is_not_called_damage(bundle_folder, monkeypatch):
    def fails(path):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(bundles, "digest_file", fails)
    with pytest.raises(UserError, match=r"the bundle \S+ cannot be read \(Permission denied\)"):
        load_bundle(bundle_folder)
