import json

import pytest

from spine_models.errors import UserError
from spine_models.provenance.acceptance import (
    Acceptance,
    code_in_force,
    read_acceptances,
    write_acceptances,
)


def line(stage="train_segmentation", code="new", accepted="old", modules=("spine_models.a",), reason="renamed"):
    return Acceptance(stage, code, accepted, modules, reason)


def test_an_accepted_code_stands_for_the_new_one_in_its_stage_alone(tmp_path):
    write_acceptances(tmp_path, [line()])
    acceptances = read_acceptances(tmp_path)
    assert code_in_force(acceptances, "train_segmentation", "new") == "old"
    assert code_in_force(acceptances, "train_classifier", "new") == "new"
    assert code_in_force(acceptances, "train_segmentation", "newest") == "newest"
    assert code_in_force(read_acceptances(tmp_path / "nowhere"), "train_segmentation", "new") == "new"


def test_each_acceptance_is_one_line_and_a_later_one_for_the_same_code_replaces_it(tmp_path):
    again = line(accepted="older", reason="judged again")
    write_acceptances(tmp_path, [line(), line("make_crops", modules=None), again])
    text = (tmp_path / "accepted.json").read_text()
    assert [json.loads(row.rstrip(",")) for row in text.splitlines()[1:-1]] == json.loads(text)
    assert read_acceptances(tmp_path) == [again, line("make_crops", modules=None)]


@pytest.mark.parametrize("content", ["", "[", "{}x", '[{"stage": "a"}]', "[3]", '[{"modules": [], "other": 1}]'])
def test_a_damaged_list_is_a_sentence_and_never_taken_for_an_empty_one(tmp_path, content):
    (tmp_path / "accepted.json").write_text(content)
    with pytest.raises(UserError, match=r"accepted\.json is damaged: restore it"):
        read_acceptances(tmp_path)
