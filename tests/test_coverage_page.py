"""The page of `make coverage`, from a report like those of the tool, and what starts the tool in each process."""

import subprocess
import sys

from benchmarks.coverage import _START, page


def summary(lines, lines_run, branches=0, branches_run=0):
    return {
        "num_statements": lines,
        "covered_lines": lines_run,
        "num_branches": branches,
        "covered_branches": branches_run,
    }


def function(lines, lines_run):
    return {"summary": summary(lines, lines_run)}


REPORT = {
    "totals": summary(40, 25, 8, 3),
    "files": {
        "spine_models/whole.py": {"summary": summary(10, 10, 2, 2), "functions": {"all_of_it": function(8, 8)}},
        "spine_models/room/partly.py": {
            "summary": summary(20, 15, 4, 1),
            "functions": {"": function(4, 0), "Seen.run": function(10, 5), "Seen.never": function(3, 0)},
        },
        "spine_models/ways.py": {"summary": summary(5, 5, 2, 1), "functions": {}},
        "spine_models/unseen.py": {"summary": summary(5, 0), "functions": {"lost": function(4, 0)}},
        "spine_models/room/__init__.py": {"summary": summary(0, 0), "functions": {}},
    },
}


def test_the_page_has_the_total_what_is_reached_in_part_and_what_never_ran():
    lines = page(REPORT, "make coverage", "== 3 passed in 1.00s ==").splitlines()
    assert "Measured by `make coverage`, which writes this page." in lines
    assert "pytest ended with: 3 passed in 1.00s." in lines
    assert [line for line in lines if line.startswith("| ")][1:] == [
        "| all | 25 of 40 (62.5%) | 3 of 8 (37.5%) |",
        "| `spine_models.room.partly` | 15 of 20 (75.0%) | 1 of 4 (25.0%) |",
        "| `spine_models.ways` | 5 of 5 (100.0%) | 1 of 2 (50.0%) |",
    ]
    assert "The other 2 modules are reached as a whole." in lines
    assert "Modules: `spine_models.unseen`." in lines
    assert [line for line in lines if line.startswith("* ")] == ["* `spine_models.room.partly`: `Seen.never`"]


def test_a_process_outside_of_a_measurement_starts_nothing(monkeypatch):
    monkeypatch.delenv("SPINE_MODELS_COVERAGE", raising=False)
    code = f"import sys; exec({_START!r}); assert 'coverage' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
