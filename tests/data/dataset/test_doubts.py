"""A plan sees that the files of refused studies are others than those that the job found."""

from spine_models.data.dataset.doubts import states_changed, write_doubts


def test_a_job_has_the_parameter_under_which_it_was_planned_until_a_study_changes(tmp_path):
    path, now = tmp_path / "doubts.json", {"1.2": "a", "1.3": "b"}
    assert states_changed(path, now.__getitem__) == ""
    write_doubts(path, now, again="")
    assert states_changed(path, now.__getitem__) == ""
    now["1.3"] = "c"
    planned = states_changed(path, now.__getitem__)
    assert planned != ""
    now["1.3"] = "d"
    assert states_changed(path, now.__getitem__) not in ("", planned)


def test_nothing_runs_once_more_after_the_run_that_a_change_led_to(tmp_path):
    path = tmp_path / "doubts.json"
    write_doubts(path, {"1.2": "a"}, again="")
    planned = states_changed(path, lambda _: "b")
    for states in ({"1.2": "b"}, {}):  # still refused, or mended
        write_doubts(path, states, again=planned)
        assert states_changed(path, lambda _: "b") == planned


def test_what_cannot_be_read_says_nothing(tmp_path):
    path = tmp_path / "doubts.json"
    for text in ("", "[]", '{"states": 3}', "\0"):
        path.write_text(text)
        assert states_changed(path, str) == ""
