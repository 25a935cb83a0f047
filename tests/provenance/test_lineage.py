"""Which code made what is in a run's folder, and what was accepted in its place."""

from dataclasses import replace

import pytest

from spine_models.errors import UserError
from spine_models.provenance.acceptance import Acceptance, write_acceptances
from spine_models.provenance.files import read_json, write_json
from spine_models.provenance.keys import Key
from spine_models.provenance.lineage import Made, lineage
from spine_models.provenance.records import write_record
from spine_models.provenance.vouched import vouch

KEY = Key("make_crops", {"mask": "a"}, {}, "old")
LINE = Acceptance("make_crops", "new", "old", ("spine_models.a",), "renamed")


@pytest.fixture
def run(tmp_path):
    """Three crops of two codes, a table, a bundle and what is not a result."""
    for study, code in (("1", "old"), ("2", "old"), ("3", "other")):
        write_record(tmp_path / "crops/0" / f"{study}.json", replace(KEY, code=code), {}, {})
    for folder in ("state", "code"):
        write_record(tmp_path / folder / "1.json", replace(KEY, code="of a state"), {}, {})
    write_json(tmp_path / "crops/0.json", {"studies": {}, "refused": {}})
    write_json(tmp_path / "evaluation/metrics.json", {"key": 1})
    vouch(tmp_path / "evaluation/metrics.json", Key("evaluate", {}, {}, "old"))
    (tmp_path / "evaluation/broken.json").write_text("{")
    return tmp_path


def test_records_are_counted_by_stage_and_code(run):
    assert lineage(run) == [
        Made("evaluate", "old", 1, ()),
        Made("make_crops", "old", 2, ()),
        Made("make_crops", "other", 1, ()),
    ]


def test_acceptances_stand_beside_the_code_that_they_put_in_force(run):
    again = replace(LINE, code="newest", modules=None)
    write_acceptances(run, [LINE, again, replace(LINE, stage="infer_masks")])
    assert [made.accepted for made in lineage(run)] == [(), (LINE, again), ()]


def test_a_record_that_was_changed_is_a_sentence(run):
    path = run / "crops/0/3.json"
    content = read_json(path)
    content["key"]["code"] = "forged"
    write_json(path, content)
    with pytest.raises(UserError, match=r"3\.json differs from its digest"):
        lineage(run)
