from __future__ import annotations

import io
import sys

import pytest

from spine_models import pace
from spine_models.pace import Pace, paced


class Clock:
    """Seconds that the test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_comes_when_it_is_due_and_the_rest_follows_from_the_rate() -> None:
    clock = Clock()
    told = Pace("make_crops", 60, clock=clock)
    clock.now += 29
    assert told.line(9) is None
    clock.now += 1
    assert told.line(10) == "make_crops: 10 of 60 studies, 20 a minute, about 2 min left"
    clock.now += 10
    assert told.line(15) is None
    clock.now += 30
    assert told.line(20) == "make_crops: 20 of 60 studies, 17.1 a minute, about 2 min left"


def test_what_was_found_finished_does_not_count_for_the_rate() -> None:
    clock = Clock()
    told = Pace("predict_oof", 1000, clock=clock)
    for done in range(1, 501):
        assert told.line(done) is None
    for done in range(501, 507):
        clock.now += 60
        line = told.line(done)
    assert line == "predict_oof: 506 of 1000 studies, 1 a minute, about 8 h 14 min left"


def test_without_progress_no_rate_is_made_up_and_the_end_says_nothing() -> None:
    clock = Clock()
    told = Pace("x", 3, "files", clock=clock)
    clock.now += 100
    assert told.line(0) == "x: 0 of 3 files"
    clock.now += 100
    assert told.line(3) is None


def test_items_pass_as_they_are_with_lines_in_the_log(monkeypatch, capsys) -> None:
    items = [object() for _ in range(3)]
    monkeypatch.setattr(pace, "EVERY_S", 0.0)
    assert list(paced(items, "infer_masks")) == items
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["infer_masks: 1 of 3 studies", "infer_masks: 2 of 3 studies"]


def test_a_short_job_says_nothing(capsys) -> None:
    assert list(paced(range(5), "x")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert list(paced(range(3), "convert_volumes")) == [0, 1, 2]
    assert "convert_volumes" in terminal.getvalue()


def test_an_error_in_the_work_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        for item in paced([1, 0], "x"):
            1 / item
