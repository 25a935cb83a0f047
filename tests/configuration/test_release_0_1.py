"""What release 0.1 had: its whole config.yaml, and the description of a bundle, written by its own code."""

import re
from pathlib import Path

import pytest
import yaml

from spine_models.configuration.checked import checked
from spine_models.configuration.earlier import MOVED, RENAMED, earlier_keys
from spine_models.configuration.overlays import merge, read_overlay
from spine_models.errors import UserError
from spine_models.inference.bundle_description import read_description

ROOT = Path(__file__).parents[2]
WRITTEN = Path(__file__).parent / "release_0_1"
SCHEMA = ROOT / "rules/config.schema.yaml"


def today():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def merged(overlay):
    config = today()
    merge(config, overlay)
    return config


def unknown(overlay, known, path=""):
    """Yield the dotted names of the overlay's keys that today's configuration does not have."""
    for key, value in overlay.items():
        name = f"{path}{key}"
        if key not in known:
            yield name
        elif isinstance(value, dict) and isinstance(known[key], dict):
            yield from unknown(value, known[key], f"{name}.")


def moves(sentence):
    """Return (old name, new name) of each key that the sentence tells to move."""
    found = []
    for part in re.search(r"move (.*) \(docs/upgrade\.md\)", sentence)[1].split("; "):
        old, new = part.split(" to ")
        group, _, names = old.partition(".{")
        if names:
            found += [(f"{group}.{name}", f"{new}.{name}") for name in names.rstrip("}").split(", ")]
        else:
            moved = any(old == f"{place}.{name}" for place, _, keys in MOVED for name in keys)
            found.append((old, f"{new}.{old.rpartition('.')[2]}" if moved else new))
    return found


def taken(config, path):
    *groups, key = path.split(".")
    for group in groups:
        config = config[group]
    return config.pop(key)


def put(config, path, value):
    *groups, key = path.split(".")
    for group in groups:
        config = config.setdefault(group, {})
    config[key] = value


def test_the_whole_configuration_is_one_sentence_that_names_every_key_that_moved():
    old = yaml.safe_load((WRITTEN / "config.yaml").read_text())
    with pytest.raises(UserError) as error:
        checked(merged(old), SCHEMA)
    sentence = str(error.value)
    assert sentence.startswith("configuration: it has keys of release 0.1: move segmentation.{")
    named = {name for name, _ in moves(sentence)}
    gone = set(unknown(old, today()))
    # Of a group that is gone, the sentence names its keys.
    assert {name for name in named if name not in gone} == {
        f"classification.network.{key}" for key in ("depth", "base_channels", "dropout")
    }
    assert gone - named == {"classification.network"}


def test_moved_as_the_sentence_says_it_is_the_recipe_of_today():
    """The defaults of 0.1 and of today are one recipe: nothing is lost on the way, and nothing else changes."""
    old = read_overlay(WRITTEN / "config.yaml")
    sentence = earlier_keys(merged(old))
    for name, new in moves(sentence):
        value = taken(old, name)
        for variant in ("ir", "ip") if "*" in new else ("",):
            put(old, new.replace("*", variant), value)
    assert old["classification"].pop("network") == {}
    assert checked(merged(old), SCHEMA) == checked(today(), SCHEMA)


def test_one_old_key_is_named_without_a_list():
    sentence = earlier_keys(merged({"segmentation": {"epochs": 3}}))
    assert sentence == "it has keys of release 0.1: move segmentation.epochs to segmentation.training (docs/upgrade.md)"


def test_todays_keys_are_no_earlier_ones():
    assert earlier_keys(today()) is None
    assert earlier_keys({"segmentation": 3, "classification": {"network": None}}) is None
    for new in RENAMED.values():
        assert taken(today(), new) is not None


def test_the_description_of_a_bundle_is_read_with_the_settings_of_its_time():
    found = read_description(WRITTEN)
    assert [entry.name for entry in found.classification] == ["ir-0", "ip-0"]
    assert found.settings["plausibility"] == {"min_component_fraction": 0.1, "fallback": "neighbours"}
    assert "identity" not in found.settings
    # It knew neither limits nor operating points.
    assert "hu_limits" not in found.settings
    assert found.operating_points is None
