"""The list of predicted studies and the report as people see them in Chromium."""

from pathlib import Path

import pytest
from PIL import Image

from spine_models.inference.overlays import png_bytes
from spine_models.inference.predictions import IMPLAUSIBLE, PREDICTED, PRIOR, REFUSED, PredictedStudy
from spine_models.levels import LEVELS, TARGETS
from spine_models.report.page import report_page
from spine_models.report.predictions_page import predictions_page
from tests.report.browser import chromium, opened
from tests.report.conftest import HOSTILE, write_run

pytestmark = pytest.mark.slow
THEMES = ("light", "dark")
WIDTHS = (400, 800, 1400)


@pytest.fixture(scope="module")
def browser():
    with chromium() as program:
        yield program


def _probabilities(patient, **levels):
    return {**dict.fromkeys(TARGETS, 0.05), "patient_overall": patient, **levels}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    for kind in ("sagittal", "axial"):
        (folder / f"1.9_{kind}.png").write_bytes(png_bytes(Image.new("RGB", (120, 200))))
    files = {kind: folder / f"1.9_{kind}.png" for kind in ("sagittal", "axial")}
    visible = dict.fromkeys(LEVELS, "visible")
    studies = [
        PredictedStudy("1.10", _probabilities(0.2), PREDICTED, levels=visible),
        PredictedStudy("1.2", _probabilities(0.05), REFUSED, "no_ct", ("no CT slice",)),
        PredictedStudy(
            "1.9", _probabilities(0.6, C6=0.9), PREDICTED, notes=(HOSTILE,) * 3, levels=visible, files=files
        ),
        PredictedStudy("1.4", _probabilities(0.99), IMPLAUSIBLE, reasons=("this is not a neck",), levels=visible),
        PredictedStudy("1.3", _probabilities(0.05), PRIOR, notes=("no vertebra is visible",)),
    ]
    path = folder / "index.html"
    path.write_text(predictions_page(studies, folder, phantom=True, bundle_digest="b" * 64, classifies=True))
    return path


def order(view):
    return view.page.eval_on_selector_all("#studies > li:not([hidden]) h3", "items => items.map((i) => i.innerText)")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_read_the_list(browser, index, width, theme):
    with opened(browser, width, theme) as view:
        view.open(index)
        assert view.violations() == []
        assert not view.scrolls_sideways()
        assert view.errors == []


def test_the_list_is_sorted_and_filtered(browser, index):
    with opened(browser) as view:
        view.open(index)
        assert order(view) == ["1.9", "1.10", "1.2", "1.4", "1.3"]
        view.page.select_option("#order", "name")
        assert order(view) == ["1.2", "1.3", "1.4", "1.9", "1.10"]
        view.page.select_option("#order", "listed")
        assert order(view) == ["1.10", "1.2", "1.9", "1.4", "1.3"]
        view.page.select_option("#status", "predicted")
        assert order(view) == ["1.10", "1.9"]
        assert view.page.inner_text("#shown") == "2 of 5 shown"
        view.page.select_option("#status", "")
        view.page.fill("#words", "no vertebra IS")
        assert order(view) == ["1.3"]
        assert view.page.locator("li:not([hidden]) .bar").count() == 0, "no answer looks like one"
        view.page.fill("#words", "")
        view.page.select_option("#status", "implausible, no answer")
        assert order(view) == ["1.4"]
        assert "this is not a neck" in view.page.inner_text("#studies")
        assert view.page.locator("li:not([hidden]) .bar").count() == 0
        assert "0.99" not in view.page.inner_text("#studies"), "what is not an answer stands in no list of answers"
        assert {Path(request).suffix for request in view.requests} <= {".html", ".png"}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_read_the_report(browser, report, width, theme):
    with opened(browser, width, theme) as view:
        view.open(report)
        assert view.violations() == []
        assert not view.scrolls_sideways()
        assert view.errors == []
        assert view.requests == [report.as_uri()]


@pytest.fixture(scope="module")
def report(tmp_path_factory, volumes):
    folder = tmp_path_factory.mktemp("report")
    path = folder / "index.html"
    path.write_text(report_page(write_run(folder, volumes), "code"))
    return path
