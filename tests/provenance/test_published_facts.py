"""Facts in published files: compared with their record and checked when they are read."""

import pytest

from spine_models.errors import UserError
from spine_models.provenance.files import write_json
from spine_models.provenance.published_facts import read_facts
from tests.provenance.test_facts import THINGS, Things
from tests.vouching import published


def test_they_come_back(tmp_path):
    write_json(tmp_path / "things.json", THINGS.to_json())
    assert read_facts(published(tmp_path / "things.json"), Things) == THINGS


@pytest.mark.parametrize("content", [{"boxes": {}}, THINGS.to_json() | {"more": 1}, [1]])
def test_other_facts_are_one_sentence(tmp_path, content):
    write_json(tmp_path / "things.json", content)
    with pytest.raises(UserError, match=r"things\.json holds other facts .*: run `snakemake --force"):
        read_facts(published(tmp_path / "things.json"), Things)


def test_a_file_that_differs_from_its_record_is_refused(tmp_path):
    write_json(tmp_path / "things.json", THINGS.to_json())
    published(tmp_path / "things.json")
    write_json(tmp_path / "things.json", THINGS.to_json() | {"names": ["b"]})
    with pytest.raises(UserError, match="differs from its record"):
        read_facts(tmp_path / "things.json", Things)
