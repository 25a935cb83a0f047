"""``spine-models why``: Snakemake's reasons in words."""

import pytest

from spine_models.commands.why import reasons, told
from spine_models.errors import UserError
from spine_models.provenance.fingerprint import fingerprint
from spine_models.provenance.stored_code import store_code
from tests.commands.plans import plan_of

PARAMS = "Params have changed since last execution: Union of exclusive params before and now across all output: "


def said(tmp_path, *jobs):
    return told(reasons(plan_of(*jobs), tmp_path))


def test_keys_that_changed_are_named_by_dots_with_both_values(tmp_path):
    before = '{"crops":{"margin":2,"size":64},"gone":1,"names":["a"],"seed":1}'
    now = '{"crops":{"margin":3,"size":64},"names":["a","b"],"new":null,"seed":1}'
    reason = f"{PARAMS}before: {before!r} now: {now!r} "
    assert said(tmp_path, ("make_crops", reason), ("make_crops", reason)).splitlines() == [
        "make_crops (2 jobs):",
        "  crops.margin is 3; it was 2",
        "  gone is gone; it was 1",
        '  names is ["a", "b"]; it was ["a"]',
        "  new is new: null",
    ]


def test_values_may_hold_the_words_between_which_they_stand(tmp_path):
    reason = f"""{PARAMS}before: '{{"note":"x now: y"}}' now: '{{"note":"before: now: z"}}'"""
    assert '  note is "before: now: z"; it was "x now: y"' in said(tmp_path, ("evaluate", reason))


def test_code_names_its_modules_where_the_run_knows_what_it_was_made_from(tmp_path, monkeypatch):
    earlier, now = {"a": "1", "models.losses": "2"}, {"a": "1", "models.losses": "3", "b": "4"}
    store_code(tmp_path, earlier)
    monkeypatch.setattr("spine_models.commands.code_differences.code_parts", lambda stage, code: now)
    reason = f"{PARAMS}before: {fingerprint(earlier)!r} now: {fingerprint(now)!r}"
    assert "  its code changed: b, models.losses" in said(tmp_path, ("train_segmentation", reason))
    reason = f"{PARAMS}before: {'0' * 16!r} now: {fingerprint(now)!r}"
    assert "  its code changed: it is not known in which modules" in said(tmp_path, ("train_segmentation", reason))


def test_files_of_the_users_are_named(tmp_path):
    reason = f"{PARAMS}before: '--seen {'a' * 64}=data/train.csv' now: '--seen {'b' * 64}=data/train.csv'"
    assert "  another content: data/train.csv" in said(tmp_path, ("evaluate", reason))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Missing output files: results/crops/0.json", "its results are missing"),
        ("Updated input files: data/train.csv", "changed: data/train.csv"),
        ("Set of input files has changed since last execution", "it reads other files than before"),
        (f"{PARAMS}before: '{'1' * 64}' now: '{'2' * 64}'", "files or folders that it reads are others"),
        ("Something that Snakemake says one day", "Something that Snakemake says one day"),
    ],
)
def test_other_reasons(tmp_path, reason, words):
    assert f"  {words}" in said(tmp_path, ("convert_volumes", reason))


def test_what_runs_because_of_others_comes_last_and_once(tmp_path):
    later = "Input files updated by another job: results/crops/0.json"
    jobs = (("report", later), ("make_crops", f"Missing output files: x; {later}"), ("report", later))
    assert said(tmp_path, *jobs).splitlines() == [
        "make_crops (1 job):",
        "  its results are missing",
        "because those run, as far as their results differ: report (2)",
    ]


def test_nothing(tmp_path):
    assert said(tmp_path) == "nothing would run"


def test_a_folder_that_is_none_is_a_sentence(tmp_path):
    from spine_models.commands.why import why

    with pytest.raises(UserError, match="is not a folder: give the output_dir of a run"):
        why(tmp_path / "nowhere")
