"""The report: complete, self-contained, and nothing from outside gets into its markup."""

import dataclasses
import html
import itertools
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from spine_models.data.phantom import settings as phantom_settings
from spine_models.evaluation.truth import read_truth
from spine_models.provenance.acceptance import Acceptance, write_acceptances
from spine_models.provenance.files import read_json, write_json
from spine_models.report.data_section import RuleTime, rule_times
from spine_models.report.page import GRADES, report_page
from spine_models.report.pictures import level_to_show
from spine_models.report.rendering import duration_text
from tests.report.conftest import HOSTILE, write_run
from tests.vouching import published

REPOSITORY = Path(__file__).resolve().parents[2]
VOID = {"meta", "img", "br", "path", "use", "link", "input"}


class Page(HTMLParser):
    """Collects what the tests look at."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.ids, self.references, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append((tag, named))
        if tag not in VOID:
            self.open.append(tag)
        if "id" in named:
            self.ids.append(named["id"])
        self.references += [named[name] for name in ("src", "href", "action", "data") if name in named]
        self.references += re.findall(r"url\(([^)]*)\)", " ".join(str(value) for value in named.values()))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def cells(text):
    """Return the words of a page with a space wherever markup is, so that cells of a table stand apart."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


@pytest.fixture(scope="module")
def page(volumes, tmp_path_factory):
    text = report_page(write_run(tmp_path_factory.mktemp("run"), volumes), "code")
    return text, Page(text)


def test_nothing_is_fetched_and_nothing_runs(page):
    text, parsed = page
    assert parsed.open == []
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in parsed.references)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert not [name for _, named in parsed.tags for name in named if name.startswith("on")]
    assert "@import" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_text_from_outside_is_text(page):
    text, parsed = page
    assert "<script" not in text
    assert parsed.text.count(HOSTILE) >= 3


def test_identifiers_are_unique_and_links_inside_lead_somewhere(page):
    _, parsed = page
    assert len(parsed.ids) == len(set(parsed.ids))
    inside = [reference[1:].rstrip('"') for reference in parsed.references if reference.startswith("#")]
    assert inside
    assert set(inside) <= set(parsed.ids)


def test_accessible_names(page):
    _, parsed = page
    assert ("html", {"lang": "en"}) in parsed.tags
    assert all(named.get("alt") for tag, named in parsed.tags if tag == "img")
    assert all("scope" in named for tag, named in parsed.tags if tag == "th")
    headings = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))


def test_it_says_what_the_figures_are(run):
    text = report_page(run, "code")
    parsed = Page(text)
    metrics = read_json(run.metrics)
    words = re.sub(r"\s+", " ", parsed.text)
    assert "These are phantom results" in words
    assert "not a medical device" in words
    assert "chosen and judged on the very fold" in words
    assert f"{metrics['classification']['competition_loss']:.3f}" in words
    assert f"{metrics['classification']['prior_loss']:.3f}" in words
    assert f"{metrics['segmentation']['dice_mean']:.3f}" in words
    assert "12 of 24 studies have no out-of-fold prediction" in words
    for variant in ("ir", "ip"):
        assert variant in metrics["averaging"]
    assert words.count("0.4000") == 3
    low, high = metrics["classification"]["auc_ci95"]["patient_overall"]
    assert f"{low:.2f}–{high:.2f}" in words
    assert f"{metrics['classification']['positives']['C2']} of 12" in words
    # VolumeFacts of the fixture: 20 slices of 2 mm, 64 pixels of 1 mm.
    assert "extent from top to bottom (mm) 40 40 40" in cells(text)
    assert "extent of a slice (mm) 64 64 64" in cells(text)
    share = read_truth(run.train_csv)["C2"]
    assert f"C2 {share.sum()} {100 * share.mean():.0f} %" in cells(text)
    assert len([tag for tag, _ in parsed.tags if tag == "svg"]) == 7
    assert words.count("Best predicted") == 2
    assert all(version in words for version in ("torch", "mmaction2", "d" * 64))


def test_grades_stand_from_hard_to_easy(run):
    assert GRADES == phantom_settings.GRADES
    metrics = read_json(run.metrics)
    metrics["per_grade"]["moderate"] = metrics["per_grade"]["obvious"]
    metrics["per_grade"]["another"] = metrics["per_grade"]["obvious"]
    write_json(run.metrics, metrics)
    published(run.metrics)
    rows = re.findall(r'<th scope="row">(subtle|moderate|obvious|another)</th>', report_page(run, "code"))
    assert rows == ["subtle", "moderate", "obvious", "another"]


def test_an_average_that_is_worse_is_called_worse(run):
    assert "In no training is the published average worse" in Page(report_page(run, "code")).text
    metrics = read_json(run.metrics)
    metrics["averaging"]["ir"]["fold1"] |= {"averaged": 0.45}
    # The plain average is worse, but it is not what is published.
    metrics["averaging"]["ip"]["fold0"] |= {"averaged": 0.45, "greedy": {"loss": 0.35}, "published": "greedy"}
    write_json(run.metrics, metrics)
    published(run.metrics)
    words = re.sub(r"\s+", " ", Page(report_page(run, "code")).text)
    assert "In 1 of 3 trainings the published average is worse than the best single epoch: ir, fold 1." in words
    assert words.count("worse than the best single epoch") == 2


def test_every_chart_has_its_numbers_in_text(run):
    text = report_page(run, "code")
    words = cells(text)
    charts = len(re.findall("<svg", text))
    # Dice and AUC have their table beside them.
    assert text.count("The numbers of this chart") == charts - 2
    for rows in read_json(run.metrics)["classification"]["calibration"].values():
        for row in rows:
            assert f"{row['predicted']:.3f} {row['observed']:.3f} {row['n']} " in words
    # The first epoch is 0 in history.csv and 1 in the logs; its loss is 1, the last one's 1 / 5.
    assert "Epochs count from 1" in words
    assert re.search(r"Epoch(?: i[rp], fold \d){3} 1 1.000 1.000 1.000 2 0.500", words)
    assert re.search(r" 5 0.200 0.200 0.200", words)


def test_run_times_are_summed_by_rule(run):
    folder = run.output_dir / "benchmarks"
    (folder / "train_classifier").mkdir(parents=True)
    head = "s\th:m:s\tmax_rss\n"
    (folder / "train_classifier" / "ir-0.tsv").write_text(head + "100.0\t0:01:40\t512.4\n")
    (folder / "train_classifier" / "ir-1.tsv").write_text(head + "30.0\t0:00:30\tNA\n")
    (folder / "evaluate.tsv").write_text(head + "-\t-\t-\n")
    (folder / "report.tsv").write_text(head + "7.0\t0:00:07\t99\n")
    os.utime(run.metrics, (0, 0))
    assert rule_times(run.output_dir) == [RuleTime("train_classifier", 2, 130.0, 100.0, 512.4)]
    words = cells(report_page(run, "code"))
    assert "Evaluated on 1970-01-01 00:00 UTC. The jobs of the run took 2 min 10 s together." in words
    assert "train_classifier 2 2 min 10 s 1 min 40 s 512" in words


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599.7, "1 h 00 min"), (7440, "2 h 04 min")]
)
def test_durations_for_people(seconds, text):
    assert duration_text(seconds) == text


def test_the_picture_shows_the_fractured_level():
    probabilities = {"C3": 0.9, "C5": 0.7, "C6": 0.1}
    mask = np.array([[[3, 5, 6]]], np.uint8)
    assert level_to_show(probabilities, ["C6"], mask) == "C6"
    assert level_to_show(probabilities, ["C5", "C6"], mask) == "C6"
    assert level_to_show(probabilities, [], mask) == "C3"
    # A fracture of a level that the mask lacks cannot be shown.
    assert level_to_show(probabilities, ["C1"], mask) == "C3"
    assert level_to_show(probabilities, ["C1"], mask * 0) == ""


def test_results_that_stand_on_accepted_code_are_named(run):
    assert 'id="accepted"' not in report_page(run, "code")
    known = Acceptance("train_segmentation", "1" * 16, "2" * 16, ("spine_models.models.losses",), "a constant renamed")
    unknown = Acceptance("make_crops", "3" * 16, "4" * 16, None, HOSTILE)
    write_acceptances(run.output_dir, [known, unknown])
    page = Page(report_page(run, "code"))
    for text in (
        "train_segmentation",
        "2" * 16,
        "spine_models.models.losses",
        "a constant renamed",
        "unknown",
        HOSTILE,
    ):
        assert text in page.text


def test_real_data_is_not_called_phantom(run):
    metrics = read_json(run.metrics) | {"phantom": False, "per_grade": {}}
    write_json(run.metrics, metrics)
    published(run.metrics)
    words = Page(report_page(run, "code")).text
    assert "hantom" not in words.replace("phantom.csv", "")


def test_figures_that_are_not_defined_and_missing_parts(run):
    metrics = read_json(run.metrics)
    metrics["classification"]["auc"] = dict.fromkeys(metrics["classification"]["auc"])
    metrics["segmentation"] |= {
        "dice_mean": None,
        "dice_per_class": dict.fromkeys(metrics["segmentation"]["dice_per_class"]),
    }
    metrics["segmentation"]["n_studies"] = 0
    write_json(run.metrics, metrics)
    published(run.metrics)
    words = Page(report_page(dataclasses.replace(run, half=[], masks=[], histories=[]), "code")).text
    assert "networks of another bundle" in words
    assert "No masks and volumes were given" in words


def test_the_script_gives_the_same_page_in_another_process(run, tmp_path):
    command = [sys.executable, str(REPOSITORY / "workflow_scripts/report.py"), "--code", "code"]
    command += ["--metrics", run.metrics, "--quarantine", run.quarantine, "--histories", *run.histories]
    command += ["--oof", *run.oof, "--train-csv", run.train_csv, "--bundle", run.bundle]
    command += [
        "--half",
        *run.half,
        "--masks",
        *run.masks,
        "--output-dir",
        run.output_dir,
        "--out",
        tmp_path / "page.html",
    ]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([str(part) for part in command], check=True, env=environment)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == report_page(run, "code")
