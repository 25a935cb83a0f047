"""A short run of the fuzzer, and a check that it would see what it looks for."""

from __future__ import annotations

import os
import random
import time

import pytest

from spine_models.data.dicom import pixels
from tests.fuzz import run_fuzz


def test_a_short_run_finds_nothing() -> None:
    findings = run_fuzz.fuzz({"dicom": 150, "label": 60, "table": 60, "configuration": 15, "bundle": 6}, first_seed=0)
    assert findings.wrong == []
    outcomes = {kind: {outcome for k, outcome in findings.outcomes if k == kind} for kind in run_fuzz.KINDS}
    assert all("equal" in found for found in (outcomes["dicom"], outcomes["label"], outcomes["table"]))
    assert len(outcomes["dicom"]) > 5


def test_a_silent_wrong_read_is_seen(monkeypatch) -> None:
    original = pixels._from_bits
    monkeypatch.setattr(pixels, "_from_bits", lambda *arguments: original(*arguments) + 1)
    findings = run_fuzz.fuzz({"dicom": 10}, first_seed=0)
    assert any("differ from plain pydicom" in what for _, _, what in findings.wrong)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (lambda rng: time.sleep(60), "took more than 3 s"),
        (lambda rng: sum(1 for _ in iter(int, 1)), "took more than 3 s"),
        (lambda rng: os._exit(3), "died with status 3"),
        (lambda rng: {}["x"], "KeyError"),
    ],
)
def test_hangs_crashes_and_traces_are_seen_and_the_rest_goes_on(monkeypatch, case, expected) -> None:
    bad = random.Random("table-1").random()
    good = run_fuzz.KINDS["table"]
    monkeypatch.setitem(run_fuzz.KINDS, "table", lambda rng: case(rng) if _is(rng, bad) else good(rng))
    findings = run_fuzz.fuzz({"table": 3}, first_seed=0, hang_seconds=3.0)
    assert [(kind, seed) for kind, seed, _ in findings.wrong] == [("table", 1)]
    assert expected in findings.wrong[0][2]
    assert sum(findings.outcomes.values()) >= 2


def _is(rng: random.Random, first: float) -> bool:
    state = rng.getstate()
    value = rng.random()
    rng.setstate(state)
    return value == first
