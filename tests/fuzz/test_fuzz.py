"""A short run of the fuzzer, and a check that it would see what it looks for."""

from __future__ import annotations

import os
import random
import time

import pytest

from spine_models.data.dicom import jpeg_lossless, pixels, series
from spine_models.data.dicom.passes import Pass
from spine_models.data.dicom.study import decode_study, open_study
from tests.fuzz import dicom_cases, run_fuzz


def test_a_short_run_finds_nothing() -> None:
    counts = {"dicom": 150, "codestream": 200, "label": 60, "table": 60, "configuration": 15, "bundle": 6}
    findings = run_fuzz.fuzz(counts, first_seed=0)
    assert findings.wrong == []
    outcomes = {kind: {outcome for k, outcome in findings.outcomes if k == kind} for kind in run_fuzz.KINDS}
    assert all("equal" in found for found in (outcomes["dicom"], outcomes["label"], outcomes["table"]))
    assert len(outcomes["dicom"]) > 5


def test_a_silent_wrong_read_is_seen(monkeypatch) -> None:
    original = pixels._from_bits
    monkeypatch.setattr(pixels, "_from_bits", lambda *arguments: original(*arguments) + 1)
    findings = run_fuzz.fuzz({"dicom": 10}, first_seed=0)
    assert any("differ from plain pydicom" in what for _, _, what in findings.wrong)


def test_damage_of_a_codestream_that_is_not_looked_for_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(jpeg_lossless, "_require_end", lambda *arguments: None)
    findings = run_fuzz.fuzz({"codestream": 40}, first_seed=0)
    assert {what.strip().splitlines()[-1] for _, _, what in findings.wrong} == {
        "AssertionError: damage that the standard tells of was read"
    }


@pytest.mark.parametrize("kind", [dicom_cases.PASSES, dicom_cases.PASSES_IN_FRAMES])
def test_slices_of_two_passes_in_one_volume_are_seen(tmp_path, monkeypatch, kind) -> None:
    undamaged = dicom_cases.originals(kind, True)
    for index, data in enumerate(undamaged):
        (tmp_path / str(index)).write_bytes(data)

    def compared() -> None:
        source = open_study(tmp_path, tmp_path, dicom_cases.SETTINGS)
        dicom_cases.compare(source, decode_study(source, dicom_cases.SETTINGS), undamaged)

    compared()
    alternating, steps = [Pass([]), Pass([])], 2 if kind == dicom_cases.PASSES else 1

    def split(stack):
        for header in stack:
            number = (int(header.acquisition) + round(header.position[2] / steps)) % 2
            alternating[number].headers.append(header)
        return alternating

    monkeypatch.setattr(series, "split_passes", split)
    with pytest.raises(AssertionError, match="several passes are mixed"):
        compared()


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
