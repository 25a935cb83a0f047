"""The networks of the bundle that trainings start from, as the configuration names it."""

import json

import pytest

from spine_models.configuration.trainings import published_file
from spine_models.configuration.user_folders import UserFolders
from spine_models.errors import UserError

ENTRY = {"file": "a.safetensors", "bytes": 1, "sha256": "5a", "name": "ir-0"}


def folders(bundle):
    return UserFolders({"init_bundle": str(bundle), "phantom": {"enabled": False}})


def networks(folder, content, stage="classification"):
    (folder / "bundle.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folders(folder).bundle_networks("init_bundle", stage)


def test_files_of_a_stage_with_their_digests(tmp_path):
    content = {"classification": [ENTRY, ENTRY | {"file": "../b.safetensors", "sha256": "5b"}], "segmentation": []}
    # A name that leads out of the bundle is one inside of it.
    assert networks(tmp_path, content) == [(tmp_path / "a.safetensors", "5a"), (tmp_path / "b.safetensors", "5b")]


@pytest.mark.parametrize("content", ["{", "[]", {}, {"classification": [{}]}, {"classification": [1]}])
def test_a_damaged_description_is_a_sentence(tmp_path, content):
    with pytest.raises(UserError, match=r"bundle.json is damaged"):
        networks(tmp_path, content)


def test_a_bundle_without_a_network_for_the_stage_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="has no network for the segmentation"):
        networks(tmp_path, {"classification": [ENTRY], "segmentation": []}, "segmentation")


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(UserError, match=r"has no bundle.json"):
        folders(tmp_path).bundle_networks("init_bundle", "segmentation")


def test_a_bundle_takes_the_place_of_published_weights():
    config = {"pretrained": "model_zoo", "init_bundle": ""}
    assert str(published_file(config, "ircsn-50")).endswith("86d33018.pth")
    assert published_file(config | {"init_bundle": "b"}, "ircsn-50") is None
