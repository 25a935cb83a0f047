"""A folder of checkpoints in the published forms becomes a bundle of the same networks."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from spine_models.data.dataset.study_tokens import TRAINING_STUDIES, study_token
from spine_models.errors import UserError
from spine_models.inference.bundle import load_bundle
from spine_models.inference.bundle_description import DESCRIPTION
from spine_models.inference.bundle_networks import load_classifiers, load_segmentation
from spine_models.inference.import_solution import SolutionTables, import_solution
from spine_models.inference.mask_networks import bundle_networks, networks_for
from spine_models.inference.solution_settings import AUTHORS_SETTINGS, OUR_SETTINGS, PUBLISHED_PRIOR
from spine_models.levels import LEVELS, TARGETS
from spine_models.models.weights import load_state
from tests.models.solution_networks import SolutionClassifier, SolutionUNet, randomised, save_checkpoint
from tests.models.test_solution_checkpoints import assert_equal_outputs

ROOT = Path(__file__).parents[2]
UNKNOWN = "out-of-fold use is unknown"


@pytest.fixture(scope="module")
def solution(tmp_path_factory) -> tuple[Path, dict[str, torch.nn.Module]]:
    """A folder as a user has it: checkpoints under odd names, a copy, a table and a note."""
    folder = tmp_path_factory.mktemp("solution")
    networks = {
        "best_dice": randomised(SolutionUNet(8, (8, 12, 16, 24), 4), seed=1),
        "a.pth": randomised(SolutionClassifier("ir", 50, base=8), seed=2),
        "b.pth": randomised(SolutionClassifier("ip", 50, base=8), seed=3),
        "swa_5_best.pth": randomised(SolutionClassifier("ir", 50, base=8), seed=4),
    }
    for (name, network), form in zip(networks.items(), ("best", "training", "bare", "averaged"), strict=True):
        save_checkpoint(folder / name, network, form)
    (folder / "copy.pth").write_bytes((folder / "a.pth").read_bytes())
    (folder / "folds.csv").write_text("cube_id,fold\n1.2.0,0\n")
    (folder / "README").write_text("weights")
    return folder, networks


def imported(solution, out: Path, our_defaults: bool = False, **tables):
    return import_solution(
        solution[0], out, SolutionTables(**tables), our_defaults=our_defaults, progress=lambda name: None
    )


def test_a_bundle_of_equal_networks(solution, tmp_path):
    found = imported(solution, tmp_path / "bundle")
    assert {network.checkpoint: network.title for network in found.networks} == {
        "a.pth": "classifier ir-50",
        "b.pth": "classifier ip-50",
        "best_dice": "segmentation network",
        "swa_5_best.pth": "classifier ir-50",
    }
    assert found.skipped == ("README", "copy.pth", "folds.csv")
    bundle = load_bundle(tmp_path / "bundle")
    assert [entry.name for entry in bundle.segmentation] == ["csn_unet-0"]
    assert [entry.name for entry in bundle.classification] == ["ir-0", "ip-0", "ir-1"]
    crops, image = torch.randn(2, 3, 8, 32, 32), torch.randn(1, 1, 8, 32, 32)
    for ours, name in zip(load_classifiers(bundle), ("a.pth", "b.pth", "swa_5_best.pth"), strict=True):
        assert_equal_outputs(ours, solution[1][name], crops)
    assert_equal_outputs(load_segmentation(bundle)[0], solution[1]["best_dice"], image)
    assert {path.suffix for path in (tmp_path / "bundle").iterdir()} == {".json", ".md", ".safetensors"}
    assert str(solution[0]) not in (tmp_path / "bundle" / DESCRIPTION).read_text()


def test_the_same_checkpoints_give_the_same_bytes_also_over_an_earlier_bundle(solution, tmp_path):
    imported(solution, tmp_path / "one")
    imported(solution, tmp_path / "two", our_defaults=True)
    imported(solution, tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


def test_the_authors_settings_are_the_default_and_ours_the_other_choice(solution, tmp_path):
    imported(solution, tmp_path / "author")
    imported(solution, tmp_path / "ours", our_defaults=True)
    author, ours = load_bundle(tmp_path / "author").settings, load_bundle(tmp_path / "ours").settings
    assert author == AUTHORS_SETTINGS
    assert ours == OUR_SETTINGS
    assert author["hu_limits"] is None
    assert author["crops"]["min_voxels"] == 1
    assert author["plausibility"]["fallback"] == "none"
    assert author["plausibility"]["min_component_fraction"] == 0
    assert author["inference"]["window"] == 384


def test_our_settings_are_those_of_the_configuration():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for name in ("z_step", "half_size", "hu_limits", "crops", "plausibility"):
        assert OUR_SETTINGS[name] == config[name]
    assert OUR_SETTINGS["inference"] == config["segmentation"]["inference"]
    assert OUR_SETTINGS["crop_inference"] == config["classification"]["inference"]


def _table(path: Path, rows: list[str], targets: bool = False) -> Path:
    header = ["cube_id", "fold", *(LEVELS if targets else ())]
    path.write_text("\n".join([",".join(header), *rows]) + "\n")
    return path


def test_without_tables_the_bundle_says_that_out_of_fold_use_is_unknown(solution, tmp_path):
    found = imported(solution, tmp_path / "bundle")
    assert sum(UNKNOWN in note for note in found.notes) == 2
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.provenance["notes"] == list(found.notes)
    assert bundle.prior == PUBLISHED_PRIOR
    assert any("prior" in note for note in found.notes)
    for entry in (*bundle.segmentation, *bundle.classification):
        assert TRAINING_STUDIES not in load_state(bundle.place.network(entry))[1]["provenance"]


def test_a_network_has_seen_every_fold_but_its_own(solution, tmp_path):
    table = _table(tmp_path / "t.csv", ["1.2.0,0", "1.2.1,1", "1.2.2,2"])
    folds = {"best_dice": 1, "a.pth": 2}
    found = imported(solution, tmp_path / "bundle", classification=table, segmentation=table, folds=folds)
    assert not any(UNKNOWN in note for note in found.notes)
    bundle = load_bundle(tmp_path / "bundle")
    seen = {}
    for entry in (*bundle.segmentation, *bundle.classification):
        provenance = load_state(bundle.place.network(entry))[1]["provenance"]
        seen[entry.name] = {
            study for study in ("1.2.0", "1.2.1", "1.2.2") if study_token(study) in provenance[TRAINING_STUDIES]
        }
    assert seen["csn_unet-0"] == {"1.2.0", "1.2.2"}
    assert seen["ir-0"] == {"1.2.0", "1.2.1"}
    # Nobody says which fold it held out: all of them are taken to be known to it.
    assert seen["ip-0"] == {"1.2.0", "1.2.1", "1.2.2"}
    networks = bundle_networks(tmp_path / "bundle")
    assert [network.name for network in networks_for("1.2.1", "", networks, None)] == ["csn_unet-0"]
    with pytest.raises(UserError, match=r"held study 1\.2\.2"):
        networks_for("1.2.2", "", networks, None)


def test_the_prior_comes_from_a_table_that_holds_the_targets(solution, tmp_path):
    rows = ["1.2.0,0,0,1,0,0,0,0,0", "1.2.1,1,0,0,0,0,0,0,0", "1.2.2,2,0,0,0,0,0,0,0"]
    found = imported(solution, tmp_path / "bundle", classification=_table(tmp_path / "t.csv", rows, targets=True))
    prior = load_bundle(tmp_path / "bundle").prior
    assert not any("prior" in note for note in found.notes)
    # As for the targets of the same studies in tests/inference/test_bundle.py.
    assert prior["patient_overall"] == pytest.approx(0.388889, abs=1e-6)
    assert prior["C2"] == pytest.approx(0.388889, abs=1e-6)
    assert prior["C1"] == 0.01


def test_a_segmentation_network_alone_makes_a_bundle_for_masks(solution, tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "x").write_bytes((solution[0] / "best_dice").read_bytes())
    imported((folder, {}), tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.classification == ()
    assert bundle.prior is None
    assert [network.name for network in bundle_networks(tmp_path / "bundle")] == ["csn_unet-0"]


def test_what_cannot_be_imported_is_a_sentence_and_leaves_no_bundle(solution, tmp_path):
    empty, classifier = tmp_path / "empty", tmp_path / "classifier"
    for folder in (empty, classifier):
        folder.mkdir()
    (classifier / "a.pth").write_bytes((solution[0] / "a.pth").read_bytes())
    cases = [
        ((tmp_path / "none", {}), {}, "is not a folder"),
        ((empty, {}), {}, "holds no checkpoint"),
        ((classifier, {}), {}, "no segmentation network"),
        (solution, {"folds": {"c.pth": 0}}, "--fold names c.pth"),
        (solution, {"folds": {"a.pth": 7}, "classification": solution[0] / "folds.csv"}, "has no fold 7"),
        (solution, {"classification": solution[0] / "README"}, "lacks the columns cube_id, fold"),
    ]
    for source, tables, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            imported(source, tmp_path / "bundle", **tables)
        assert not (tmp_path / "bundle" / DESCRIPTION).exists()
    assert list((tmp_path / "bundle").iterdir()) == []


@pytest.mark.parametrize("content", ["notes.txt", "patient.pth"])
def test_a_folder_with_other_files_is_not_written_to(solution, tmp_path, content):
    (tmp_path / content).write_text("mine")
    with pytest.raises(UserError, match="not an empty folder or a bundle"):
        imported(solution, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [content]


def test_every_difference_of_the_authors_settings_is_in_the_documentation():
    text = (ROOT / "docs" / "published.md").read_text()

    def flat(settings, prefix=""):
        for name, value in settings.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

    ours = dict(flat(OUR_SETTINGS))
    for name, value in flat(AUTHORS_SETTINGS):
        if ours.get(name, ...) != value:
            assert f"`{name}: {json.dumps(value)}`".replace('"', "") in text, name


def test_the_published_prior_is_of_every_target():
    assert set(PUBLISHED_PRIOR) == set(TARGETS)
