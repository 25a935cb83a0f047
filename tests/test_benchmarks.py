"""The runner of ``make bench``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.row import at_least, at_most
from benchmarks.runner import FOLDER, benchmarks, main

GOOD = """
from benchmarks.row import at_least, at_most

def measure():
    return [at_least("reached", 3.0, 2.0, 1.5, 1.4), at_most("only told", 1.0, 2.0, 0.5, None)]
"""
MISSED = "from benchmarks.row import at_least\ndef measure():\n    return [at_least('missed', 1.0, 2.0, 0.5, 1.4)]\n"
BROKEN = "def measure():\n    raise ValueError('no such thing')\n"


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {"good": GOOD, "missed": MISSED, "broken": BROKEN}.items():
        (tmp_path / f"probe_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_measures_every_module_and_writes_the_rows(probes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe_good"], probes / "results.json") == 0
    rows = json.loads((probes / "results.json").read_text())
    assert rows[0] == {"name": "reached", "ours": 3.0, "other": 2.0, "ratio": 1.5, "target": 1.4, "ok": True}
    assert [row["name"] for row in rows] == ["reached", "only told"]
    assert "reached" in capsys.readouterr().out


@pytest.mark.parametrize("other", ["missed", "broken"])
def test_status_tells_of_a_missed_target_and_of_a_failure_and_the_rest_is_measured(
    probes: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"probe_{other}", "probe_good"], probes / "results.json") == 1
    assert "reached" in (probes / "results.json").read_text()
    assert ("no such thing" in capsys.readouterr().err) == (other == "broken")


def test_the_command(tmp_path: Path) -> None:
    # The folder has no __init__: another of its name adds to it.
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "probe.py").write_text(GOOD)
    command = [sys.executable, "-m", "benchmarks", "probe", "--out", tmp_path / "results.json"]
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=FOLDER.parent, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "results.json").read_text())) == 2


def test_finds_benchmarks_and_leaves_campaigns_out() -> None:
    found = benchmarks()
    assert {"benchmarks.check_speed", "benchmarks.two_processes"} <= set(found)
    assert not {"benchmarks.chaos", "benchmarks.replay_geometries", "benchmarks.row"} & set(found)


def test_benchmarks_import_nothing_from_tests() -> None:
    files = sorted(FOLDER.glob("*.py"))
    assert len(files) > 5
    found = [file.name for file in files if re.search(r"^\s*(?:from|import) tests\b", file.read_text(), re.MULTILINE)]
    assert found == []


def test_a_row_is_ok_by_its_unrounded_ratio() -> None:
    assert not at_least("a", 1.0, 1.0, 1.39999, 1.4).ok
    assert not at_most("a", 1.0, 1.0, 1.40001, 1.4).ok
