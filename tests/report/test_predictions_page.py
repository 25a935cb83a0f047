"""The page of predicted studies."""

from pathlib import Path

import pytest

from spine_models.data.volume_facts import SeriesFacts
from spine_models.inference.predictions import MISSING, PREDICTED, PRIOR, REFUSED, SEGMENTED, PredictedStudy
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.shard import FAILED
from spine_models.report.predictions_page import predictions_page
from tests.report.conftest import HOSTILE
from tests.report.test_page import Page
from tests.test_log import HOSTILE as CONTROLS


def _page(*studies, phantom=False, classifies=True):
    text = predictions_page(studies, Path("out"), phantom=phantom, bundle_digest="b" * 64, classifies=classifies)
    return text, Page(text)


def _study(name, status, **more):
    return PredictedStudy(name, dict.fromkeys(TARGETS, 0.25), status, **more)


def test_studies_with_pictures_relative_to_the_page():
    files = {kind: Path("out/0") / f"1 2#_{kind}.png" for kind in ("sagittal", "axial", "mask")}
    levels = dict.fromkeys(LEVELS, "visible") | {"C7": "missing"}
    text, parsed = _page(_study("1.2", PREDICTED, files=files, levels=levels))
    sources = [named["src"] for tag, named in parsed.tags if tag == "img"]
    assert sources == ["0/1%202%23_sagittal.png", "0/1%202%23_axial.png"]
    assert "0.25†" in parsed.text
    assert parsed.text.count("†") == 1
    assert parsed.open == []
    assert "http" not in text


def test_text_from_outside_is_text():
    hostile = _study(HOSTILE, REFUSED, code=HOSTILE, notes=(HOSTILE,) * 6)
    text, parsed = _page(hostile)
    assert "<script>alert" not in text
    assert parsed.text.count(HOSTILE) == 8


@pytest.mark.parametrize("text", CONTROLS)
def test_what_is_unseen_or_moves_what_is_seen_is_shown_as_an_escape(text):
    hostile = _study("1.2", REFUSED, code=f"a{text}b", notes=(f"a{text}b",))
    page, parsed = _page(hostile)
    assert text not in page
    assert parsed.text.count(f"a{CONTROLS[text]}b") == 2


def test_every_status_is_explained():
    statuses = (PREDICTED, PRIOR, REFUSED, FAILED, MISSING)
    _, parsed = _page(*(_study(f"1.{number}", status) for number, status in enumerate(statuses)), phantom=True)
    assert "1 predicted, 1 refused" in " ".join(parsed.text.split())
    assert "1 no vertebra found, no prediction" in parsed.text
    assert "1 failed" in parsed.text
    assert "1 not there" in parsed.text
    assert parsed.text.count("0.25") == 8
    assert "learnt from phantoms" in parsed.text
    assert "not a medical device" in parsed.text


def test_a_bundle_without_classifiers_shows_masks_and_no_figure():
    studies = [PredictedStudy("1.2", None, SEGMENTED), PredictedStudy("1.3", None, REFUSED, "no_slices", ("empty",))]
    text, parsed = _page(*studies, classifies=False)
    assert "mask alone" in parsed.text
    assert "no classifiers" in parsed.text
    assert "refused" in parsed.text
    assert ": prior" not in parsed.text
    assert "submission.csv" not in text
    assert 'class="bar"' not in text


def test_no_study_at_all():
    _, parsed = _page()
    assert "0 studies" in parsed.text


def test_the_series_is_named_where_there_were_several():
    read = SeriesFacts("1.2.2", 2, "B60", 1.0, 87, "")
    _, alone = _page(_study("1.2", PREDICTED, series=read))
    assert "read from" not in alone.text
    _, chosen = _page(
        _study("1.2", PREDICTED, series=read, other_series=("series 1 (12 slices of 5 mm): thicker slices",))
    )
    assert "read from series 2 (87 slices of 1 mm, kernel B60)" in chosen.text
    assert "not read: series 1 (12 slices of 5 mm): thicker slices" in chosen.text
