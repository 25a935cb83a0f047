"""The page of a study as a person sees and uses it, in Chromium, from disk and without network."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from spine_models.levels import LEVELS, TARGETS
from tests.report.browser import chromium, opened
from tests.report.conftest import HOSTILE
from tests.report.drawn_neck import PROBABILITIES, drawn_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as program:
        yield program


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return drawn_page(tmp_path_factory.mktemp("page"), notes=(HOSTILE, "a plain note"))[0]


def shown(view, selector, mode="L"):
    """Return what the canvas shows: grey values, or colours with the mode RGB."""
    picture = Image.open(io.BytesIO(view.page.locator(selector).screenshot()))
    return np.asarray(picture.convert(mode), dtype=float)


def test_it_shows_the_scan_and_leads_to_a_level(browser, path):
    with opened(browser) as view:
        view.open(path)
        grey = shown(view, "#viewer")
        assert 0.02 < (grey > 150).mean() < 0.6, "bone is bright"
        assert (grey < 20).mean() > 0.1, "air is black"
        assert np.unique(grey.astype(int)).size > 20
        view.page.click('[data-go="C4"]')
        view.page.wait_for_function("() => document.body.dataset.label === '4'")
        # Slice 26 of the volume is the 53rd of the series, of which every second is used.
        assert view.page.inner_text("#place").startswith("Slice 53 of 112")
        assert "in C4" in view.page.inner_text("#place")
        view.page.wait_for_function(
            "() => document.querySelector('#detail-caption').textContent.startsWith('C4: slice 53')"
        )
        assert view.page.inner_text("#detail-caption").endswith("the most suspicious of this level")
        assert (shown(view, "#detail") > 150).mean() > 0.01
        view.page.keyboard.press("2")
        view.page.wait_for_function("() => document.body.dataset.label === '2'")
        # The classifiers named a slice of C4 alone.
        view.page.wait_for_function(
            "() => /^C2: .*, with most of this level$/.test(document.querySelector('#detail-caption').textContent)"
        )
        view.page.focus("#viewer")
        before = view.page.inner_text("#place")
        view.page.keyboard.press("ArrowUp")
        assert view.page.inner_text("#place") != before
        assert view.requests == [path.as_uri()], "nothing but the page itself is asked for"
        assert view.errors == []


def test_views_windows_and_the_mask_change_the_image(browser, path):
    with opened(browser) as view:
        view.open(path)
        view.page.click('[data-view="axial"]')
        with_mask = shown(view, "#viewer", "RGB")
        view.page.click("#mask")
        without = shown(view, "#viewer", "RGB")
        assert (np.abs(with_mask - without).max(axis=2) > 15).mean() > 0.005
        plain = shown(view, "#viewer")
        assert view.page.get_attribute("#mask", "aria-pressed") == "false"
        view.page.click('[data-window="soft"]')
        soft = shown(view, "#viewer")
        assert np.abs(soft - plain).mean() > 2
        pictures = []
        for name in ("sagittal", "coronal", "render"):
            view.page.click(f'[data-view="{name}"]')
            pictures.append(shown(view, "#viewer"))
        assert np.abs(pictures[0] - pictures[1]).mean() > 1
        assert np.abs(pictures[1] - pictures[2]).mean() > 1
        assert view.errors == []


def test_bars_and_figures_are_those_of_the_study(browser, path):
    with opened(browser) as view:
        view.open(path)
        for level in LEVELS:
            row = view.page.locator(f'tr[data-level="{level}"]')
            assert row.locator(".value").inner_text() == f"{PROBABILITIES[level]:.2f}"
            bar, whole = row.locator(".bar > span").bounding_box(), row.locator(".bar").bounding_box()
            assert bar["width"] / whole["width"] == pytest.approx(PROBABILITIES[level], abs=0.01)


def models(spread):
    """Two classifiers so far from the mean on each side."""
    values = np.array([PROBABILITIES[target] for target in TARGETS])
    return {"ir-0": tuple(np.clip(values - spread, 0, 1)), "ir-1": tuple(np.clip(values + spread, 0, 1))}


def test_the_spread_lies_on_its_bar(browser, tmp_path):
    path, study = drawn_page(tmp_path, models=models(0.04))
    with opened(browser) as view:
        view.open(path)
        for level in LEVELS:
            low, high = study.spread(level)
            row = view.page.locator(f'tr[data-level="{level}"]')
            assert f"({low:.2f} to {high:.2f})" in row.inner_text()
            line, whole = row.locator(".range").bounding_box(), row.locator(".bar").bounding_box()
            assert (line["x"] - whole["x"]) / whole["width"] == pytest.approx(low, abs=0.01)
            assert line["width"] / whole["width"] == pytest.approx(high - low, abs=0.015)
        assert "of the 2 classifiers" in view.page.inner_text("caption")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_implausible_study_is_grey_behind_its_reasons(browser, tmp_path, theme):
    path, _ = drawn_page(tmp_path, status="implausible", models=models(0.04), reasons=("no neck " + HOSTILE,))
    with opened(browser, 400, theme) as view:
        view.open(path)
        header = view.page.inner_text("header")
        assert header.index("no neck " + HOSTILE) < header.index("not a medical device")
        assert "not an answer" in view.page.inner_text("caption")
        assert view.page.get_by_text("Patient:").count() == 0
        soft, ink = (
            view.page.eval_on_selector(selector, "(element) => getComputedStyle(element).color")
            for selector in ("td.greyed .value", "h1")
        )
        assert soft != ink
        assert view.page.locator("tr.above").count() == 0
        assert view.violations() == []
        assert not view.scrolls_sideways()
        assert view.errors == []


def exported(view, file):
    """Save what the page exports; return its rows."""
    with view.page.expect_download() as download:
        view.page.click("#export")
    assert download.value.suggested_filename == "verdicts-1.2.840.7.csv"
    download.value.save_as(file)
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_verdicts_stay_and_can_be_exported(browser, path, tmp_path):
    with opened(browser) as view:
        view.open(path)
        view.page.check('tr[data-level="C4"] input[value="disagree"]')
        view.page.fill("#comment-C4", '=1+1, "old" fracture')
        view.page.press("#comment-C4", "Tab")
        view.page.check('tr[data-level="C2"] input[value="agree"]')
        view.open(path)
        assert view.page.is_checked('tr[data-level="C4"] input[value="disagree"]')
        assert view.page.input_value("#comment-C4") == '=1+1, "old" fracture'
        rows = exported(view, tmp_path / "verdicts.csv")
    assert [(row["study"], row["bundle"], row["level"], row["verdict"]) for row in rows] == [
        ("1.2.840.7", "b" * 64, "C2", "agree"),
        ("1.2.840.7", "b" * 64, "C4", "disagree"),
    ]
    assert rows[1]["comment"] == '\'=1+1, "old" fracture', "a spreadsheet does not run it"
    assert rows[0]["time"].endswith("Z")


def test_verdicts_can_be_withdrawn_and_what_is_none_is_left_alone(browser, path, tmp_path):
    """Pages from disk may share their storage, and what another one wrote there is not a verdict."""
    with opened(browser) as view:
        view.open(path)
        view.page.check('tr[data-level="C3"] input[value="unsure"]')
        view.page.fill("#comment-C5", "hm")
        view.page.press("#comment-C5", "Tab")
        key = view.page.evaluate("() => Object.keys(localStorage)[0]")
        view.page.evaluate(
            """(key) => localStorage.setItem(key, JSON.stringify({...JSON.parse(localStorage.getItem(key)),
            C1: {verdict: '"] x', comment: "", time: ""}, C2: null, C6: {verdict: "agree"}}))""",
            key,
        )
        view.open(path)
        assert view.page.is_checked('tr[data-level="C3"] input[value="unsure"]')
        view.page.check('tr[data-level="C3"] input[value=""]')
        view.page.fill("#comment-C5", "")
        view.page.press("#comment-C5", "Tab")
        view.page.check('tr[data-level="C7"] input[value="agree"]')
        view.open(path)
        assert view.page.is_checked('tr[data-level="C3"] input[value=""]')
        rows = exported(view, tmp_path / "verdicts.csv")
        assert view.errors == []
    assert [(row["level"], row["verdict"]) for row in rows] == [("C7", "agree")]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_everybody_can_read_it(browser, path, width, theme):
    with opened(browser, width, theme) as view:
        view.open(path)
        assert view.violations() == []
        assert not view.scrolls_sideways()


def test_markup_from_outside_stays_text(browser, path):
    with opened(browser) as view:
        view.open(path)
        view.page.click("details summary")
        assert HOSTILE in view.page.inner_text("details")
        assert view.errors == []


def test_a_study_that_is_no_answer_shows_no_figure(browser, tmp_path):
    path, _ = drawn_page(tmp_path, status="prior")
    with opened(browser) as view:
        view.open(path)
        assert view.page.locator(".value").count() == 0
        assert view.page.locator(".bar").count() == 0
        assert "not a medical device" in view.page.inner_text("header")
