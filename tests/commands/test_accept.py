import pytest

from spine_models.commands.accept import _chosen, accept
from spine_models.commands.code_differences import CodeDifference
from spine_models.errors import UserError
from spine_models.provenance.acceptance import Acceptance


def line(stage, earlier, code, results):
    found = CodeDifference(stage, earlier, code, results)
    return found, Acceptance(stage, code, earlier, ("spine_models.models.losses",), "renamed")


LINES = [line("make_crops", "c1", "c9", 2), line("make_crops", "c2", "c9", 5), line("evaluate", "e1", "e9", 1)]


def test_a_missing_folder_or_reason_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder: give the output_dir of a run"):
        accept(tmp_path / "nowhere")
    with pytest.raises(UserError, match="--stage without --reason: say why"):
        accept(tmp_path, stage=["make_crops"], reason=" ")
    assert list(tmp_path.iterdir()) == []


def test_where_results_stand_on_several_codes_that_of_the_most_is_accepted():
    assert [line.accepted for line in _chosen(LINES, ["make_crops"])] == ["c2"]
    assert [line.accepted for line in _chosen(LINES, ["evaluate", "make_crops"])] == ["e1", "c2"]


def test_several_networks_of_one_stage_are_accepted_each():
    lines = [line("train_classifier", "ir1", "ir9", 4), line("train_classifier", "ip1", "ip9", 4)]
    assert {(line.accepted, line.code) for line in _chosen(lines, ["train_classifier"])} == {
        ("ir1", "ir9"),
        ("ip1", "ip9"),
    }


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (LINES, "no result of it differs only in its code; those that do are evaluate, make_crops"),
        ([], "no stage does"),
    ],
)
def test_a_stage_that_differs_in_nothing_or_in_more_is_a_sentence(lines, sentence):
    with pytest.raises(UserError, match=sentence):
        _chosen(lines, ["infer_masks"])
