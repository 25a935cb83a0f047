"""Charts inside the page."""

import re

import pytest

from spine_models.levels import LEVELS, TARGETS
from spine_models.report.figures import auc_bars, calibration_chart, curves_chart, level_bars

CHARTS = {
    "dice": lambda name: level_bars(dict.fromkeys(LEVELS, 0.9) | {"C7": None}, "Dice", name),
    "auc": lambda name: auc_bars(
        dict.fromkeys(TARGETS, 0.8) | {"C3": None}, dict.fromkeys(TARGETS, (0.3, 0.9)) | {"C3": None}, name
    ),
    "calibration": lambda name: calibration_chart({"a": [{"predicted": 0.1, "observed": 0.2, "n": 3}]}, name),
    "curves": lambda name: curves_chart({"ir, fold 0": [(0, 1.0), (1, 0.5)]}, "epoch", "loss", name),
}


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_is_bare_svg_in_the_pages_colours(chart):
    svg = CHARTS[chart](chart)
    assert svg.startswith("<svg")
    assert svg == CHARTS[chart](chart)
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "http" not in svg
    assert all(identifier.startswith(f"{chart}-") for identifier in re.findall(r'id="([^"]+)"', svg))


def test_values_are_written_out():
    assert ">0.90<" in CHARTS["dice"]("x")
    assert ">not defined<" in CHARTS["auc"]("x").replace("\n", "")
    assert ">ir, fold 0<" in CHARTS["curves"]("x")
