"""Facts have one JSON form, and it is checked when it is read."""

from dataclasses import dataclass
from enum import StrEnum

import pytest

from spine_models.errors import UserError
from spine_models.provenance.facts import Facts
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import write_record
from spine_models.provenance.shelf import Shelf
from tests.provenance.test_records import KEY


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    colour: Colour
    size: float


@dataclass(frozen=True)
class Things(Facts):
    boxes: dict[str, tuple[int, ...]]
    parts: tuple[Part, ...]
    names: tuple[str, ...] = ()


THINGS = Things({"C1": (1, 2)}, (Part(Colour.RED, 2.0),), ("a",))


def test_facts_become_json_and_come_back():
    values = THINGS.to_json()
    assert values == {"boxes": {"C1": [1, 2]}, "parts": [{"colour": "red", "size": 2.0}], "names": ["a"]}
    again = Things.from_json(values)
    assert again == THINGS and isinstance(again.parts[0].colour, Colour)


def test_unknown_missing_and_foreign_values_are_refused():
    values = THINGS.to_json()
    with pytest.raises(TypeError):
        Things.from_json(values | {"more": 1})
    with pytest.raises(TypeError):
        Things.from_json({"boxes": {}})
    with pytest.raises(ValueError, match="blue"):
        Things.from_json(values | {"parts": [{"colour": "blue", "size": 1.0}]})


def test_a_shelf_reads_facts_and_names_a_record_with_others(tmp_path):
    digests = {
        study: write_record(tmp_path / "0" / f"{study}.json", KEY, {}, facts).digest
        for study, facts in (("1", THINGS.to_json()), ("2", {"other": 1}))
    }
    write_manifest(tmp_path / "0.json", digests, {})
    shelf = Shelf([tmp_path / "0.json"])
    assert shelf.facts("1", Things) == THINGS
    assert shelf.facts("1", Things) is shelf.facts("1", Things)
    with pytest.raises(UserError, match=r"record of study 2 in .* holds other facts"):
        shelf.facts("2", Things)
