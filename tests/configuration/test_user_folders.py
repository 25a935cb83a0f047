"""The networks of the bundle that trainings start from, as the configuration names it."""

import pytest

from spine_models.configuration.trainings import published_file
from spine_models.configuration.user_folders import UserFolders
from spine_models.configuration.user_tables import require_label_maps
from spine_models.errors import UserError
from spine_models.inference.bundle_description import DESCRIPTION
from tests.bundle_files import entry, write_description


def folders(bundle):
    return UserFolders({"init_bundle": str(bundle), "phantom": {"enabled": False}})


def test_files_of_a_stage_with_their_digests(tmp_path):
    write_description(tmp_path, classification=[entry("ir-0", "a" * 64), entry("ir-1", "b" * 64)])
    found = folders(tmp_path).bundle_networks("init_bundle", "classification")
    assert found == [(tmp_path / "ir-0.safetensors", "a" * 64), (tmp_path / "ir-1.safetensors", "b" * 64)]


def test_a_file_outside_of_the_bundle_is_a_sentence(tmp_path):
    write_description(tmp_path, classification=[entry("ir-0") | {"file": "../b.safetensors"}])
    with pytest.raises(UserError, match=r"'../b.safetensors' is not a plain file name"):
        folders(tmp_path).bundle_networks("init_bundle", "classification")


def test_a_damaged_description_is_a_sentence(tmp_path):
    (tmp_path / DESCRIPTION).write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"bundle.json is damaged"):
        folders(tmp_path).bundle_networks("init_bundle", "classification")


def test_a_bundle_without_a_network_for_the_stage_is_a_sentence(tmp_path):
    write_description(tmp_path, classification=[])
    with pytest.raises(UserError, match="has no network for the classification"):
        folders(tmp_path).bundle_networks("init_bundle", "classification")


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(UserError, match="is not a bundle: it has no"):
        folders(tmp_path).bundle_networks("init_bundle", "segmentation")


def test_a_bundle_takes_the_place_of_published_weights():
    config = {"pretrained": "model_zoo", "init_bundle": ""}
    assert str(published_file(config, "ircsn-50")).endswith("86d33018.pth")
    assert published_file(config | {"init_bundle": "b"}, "ircsn-50") is None


def test_networks_that_the_bundle_has_not_are_a_sentence_before_the_first_job(tmp_path):
    write_description(tmp_path)
    named = {"bundle": str(tmp_path), "prediction": {"members": ["ir"]}}
    assert UserFolders(named | {"phantom": {"enabled": False}}).prediction_bundle == tmp_path / "bundle.json"
    named["prediction"]["members"] = ["ir", "ir-7"]
    with pytest.raises(UserError, match=r"--members ir-7 fits no network of .*: it has ir-0, csn_unet-0"):
        _ = UserFolders(named | {"phantom": {"enabled": False}}).prediction_bundle


def test_without_a_table_every_label_map_counts(tmp_path):
    (tmp_path / "segmentations").mkdir()
    for name in ("1.2.3.nii", "1.2.4.nii.gz", "1.2.5.nrrd"):
        (tmp_path / "segmentations" / name).touch()
    require_label_maps(tmp_path, set(), 2)
    require_label_maps(tmp_path, {"1.2.3", "1.2.4"}, 2)
    for listed, folds in ((set(), 3), ({"1.2.3", "1.2.5"}, 2)):
        with pytest.raises(UserError, match=r"fewer than segmentation\.folds"):
            require_label_maps(tmp_path, listed, folds)
