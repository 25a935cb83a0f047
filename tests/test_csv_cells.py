"""Cells that a spreadsheet would run: written as text, read back as they were."""

import csv
import io

import pytest

from spine_models.csv_cells import csv_rows, csv_text

HOSTILE = [
    "=1+1", "=HYPERLINK(\"http://x\")", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1",
    "-", "--1", "'=1", "''=1", "=", "+", "-1;=2", "=\"a,b\"\n", "-inf",
]  # fmt: skip
HARMLESS = ["", "a", "'quoted'", "1.2.840", "-1", "-1.5e-3", "+2", " =1", "é", "Bone = 70"]


def written(text):
    return list(csv.reader(io.StringIO(csv_text(("a", "b"), [(text, 1)]), newline="")))[1][0]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_begins_as_a_formula(text):
    assert written(text) == f"'{text}"


@pytest.mark.parametrize("text", HARMLESS)
def test_other_cells_stay_as_they_are(text):
    assert written(text) == text


@pytest.mark.parametrize("text", [*HOSTILE, *HARMLESS])
def test_our_reader_restores_every_cell(text):
    stream = io.StringIO(csv_text(("a", "b"), [(text, -1.5)]), newline="")
    assert list(csv_rows(stream)) == [{"a": text, "b": "-1.5"}]
