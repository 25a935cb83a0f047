"""No mask by a network that learnt from the study's labels."""

import itertools
from pathlib import Path

import pytest
import torch

from spine_models.data.dataset.study_tokens import TRAINING_STUDIES, study_tokens
from spine_models.errors import UserError
from spine_models.inference.mask_networks import (
    FoldTable,
    MaskNetwork,
    bundle_networks,
    fold_networks,
    networks_and_folds,
    networks_for,
    read_fold_table,
)
from spine_models.models.unet import CsnUNet, UNetSettings
from spine_models.models.weights import save_model
from tests.vouching import published

FOLDS = {f"1.2.{i}": i % 4 for i in range(12)}
TABLE = FoldTable(FOLDS, {f"patient{i}": i % 4 for i in range(12)})


def _trained_on(fold: int) -> list[str]:
    return [study for study, held_out in FOLDS.items() if held_out != fold]


def _network(fold: int | None, trained_on=None, name: str | None = None) -> MaskNetwork:
    studies = _trained_on(fold) if trained_on is None else trained_on
    return MaskNetwork(name or f"fold{fold}", Path(f"fold{fold}"), f"sha{fold}", fold, frozenset(study_tokens(studies)))


NETWORKS = [_network(fold) for fold in range(4)]


@pytest.mark.parametrize("study", FOLDS)
def test_a_segmented_study_is_predicted_by_the_network_that_did_not_see_it(study):
    (chosen,) = networks_for(study, "", NETWORKS, TABLE)
    assert study not in _trained_on(chosen.fold)
    assert not chosen.has_seen(study)
    assert sum(network.has_seen(study) for network in NETWORKS) == 3


def test_other_studies_are_predicted_by_all_networks():
    assert networks_for("9.9", "stranger", NETWORKS, TABLE) == NETWORKS
    assert networks_for("9.9", "", NETWORKS, TABLE) == NETWORKS


@pytest.mark.parametrize("number", range(12))
def test_another_study_of_a_patient_gets_the_network_that_did_not_see_the_patient(number):
    (chosen,) = networks_for("9.9", f"patient{number}", NETWORKS, TABLE)
    assert chosen.fold == number % 4


def test_weights_and_table_that_contradict_each_other_stop():
    wrong = [_network(0, trained_on=["1.2.0"]), *NETWORKS[1:]]
    with pytest.raises(UserError, match=r"learnt from study 1\.2\.0"):
        networks_for("1.2.0", "", wrong, TABLE)


def test_a_fold_without_a_network_stops():
    with pytest.raises(UserError, match=r"has held study 1\.2\.1 and its patient out"):
        networks_for("1.2.1", "", [NETWORKS[0], NETWORKS[2]], TABLE)


@pytest.mark.parametrize("study", FOLDS)
def test_networks_of_a_bundle_that_saw_a_study_are_left_out(study):
    networks = [_network(None, _trained_on(fold), f"unet-{fold}") for fold in range(4)]
    (chosen,) = networks_for(study, "", networks, None)
    assert chosen.name == f"unet-{FOLDS[study]}"
    assert networks_for("9.9", "", networks, None) == networks
    with pytest.raises(UserError, match="has held study"):
        networks_for(study, "", [network for network in networks if network.has_seen(study)], None)


@pytest.mark.parametrize("number", range(12))
def test_networks_of_a_bundle_that_saw_another_study_of_the_patient_are_left_out(number):
    groups = {study: f"patient{index}" for index, study in enumerate(FOLDS)}
    networks = [
        _network(None, [*_trained_on(fold), *(groups[study] for study in _trained_on(fold))], f"unet-{fold}")
        for fold in range(4)
    ]
    (chosen,) = networks_for("9.9", f"patient{number}", networks, None)
    assert chosen.name == f"unet-{number % 4}"
    with pytest.raises(UserError, match=r"has held study 9\.9 and its patient out"):
        networks_for("9.9", f"patient{number}", [network for network in networks if network != chosen], None)


def test_weights_that_learnt_from_the_patient_and_a_table_that_says_otherwise_stop():
    wrong = [_network(0, trained_on=["1.2.9", "patient0"]), *NETWORKS[1:]]
    with pytest.raises(UserError, match=r"learnt from study 1\.2\.0 or its patient"):
        networks_for("1.2.0", "patient0", wrong, TABLE)


def _save(folder: Path, provenance: dict) -> Path:
    torch.manual_seed(0)
    path = folder / "model.safetensors"
    save_model(path, CsnUNet(UNetSettings(base_channels=8, decoder_channels=(8, 8, 8, 8, 8))), provenance)
    return published(path)


def test_networks_of_folds_are_read_from_their_folders_and_weights(tmp_path):
    paths = [
        _save(tmp_path / f"fold{fold}", {"fold": fold, TRAINING_STUDIES: study_tokens(_trained_on(fold))})
        for fold in (10, 2)
    ]
    two, ten = sorted(fold_networks(paths), key=lambda network: network.fold or 0)
    assert (two.name, two.fold, ten.name, ten.fold) == ("fold2", 2, "fold10", 10)
    assert two.has_seen("1.2.1")
    assert not two.has_seen("1.2.2")
    assert fold_networks(paths) == fold_networks(reversed(paths))


def test_weights_of_another_fold_than_their_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="fold 1, not of fold 0"):
        fold_networks([_save(tmp_path / "fold0", {"fold": 1})])
    with pytest.raises(UserError, match="no folder fold<number>"):
        fold_networks([_save(tmp_path / "elsewhere", {})])


def test_networks_of_a_bundle_are_described(bundle_folder):
    (network,) = bundle_networks(bundle_folder)
    assert network.fold is None
    assert network.trained_on == frozenset()
    assert network.path.is_file()
    network.path.write_bytes(b"other")
    with pytest.raises(UserError, match="differs from its checksum"):
        bundle_networks(bundle_folder)


def test_folds_come_with_their_table_and_a_bundle_without(tmp_path, bundle_folder):
    table = tmp_path / "segmentation.csv"
    table.write_text("StudyInstanceUID,group,fold\n1.2.0,p,0\n", encoding="utf-8")
    models = [_save(tmp_path / "fold0", {"fold": 0})]
    assert networks_and_folds(models, published(table)) == (fold_networks(models), FoldTable({"1.2.0": 0}, {"p": 0}))
    assert networks_and_folds([bundle_folder / "bundle.json"], table) == (bundle_networks(bundle_folder), None)


def test_the_fold_table_knows_studies_and_patients(tmp_path):
    path = tmp_path / "segmentation.csv"
    path.write_text("StudyInstanceUID,group,fold\n1.2.10,0123,1\n1.2.20,,0\n", encoding="utf-8")
    assert read_fold_table(published(path)) == FoldTable({"1.2.10": 1, "1.2.20": 0}, {"0123": 1})
    path.write_text("StudyInstanceUID,fold\n1.2.10,1\n", encoding="utf-8")
    with pytest.raises(UserError, match="no column group"):
        read_fold_table(published(path))


def test_tokens_do_not_hold_ids_and_tell_studies_apart():
    tokens = study_tokens(FOLDS)
    assert len(set(tokens)) == len(FOLDS)
    assert not any(study in token for study, token in itertools.product(FOLDS, tokens))
    assert tokens == study_tokens(reversed(FOLDS))
