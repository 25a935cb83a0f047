"""``spine-models predict``: the way without Snakemake."""

import csv
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from spine_models.commands.predict import code_parts, flips_of

REPOSITORY = Path(__file__).resolve().parents[2]


def _run(*arguments, cwd):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "spine_models", "predict", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def umask():
    os.umask(found := os.umask(0))
    return found


def test_every_row_of_the_table_is_answered_and_the_page_is_there(phantom, bundle_folder, tmp_path):
    out = tmp_path / "out"
    done = _run(
        "--bundle", bundle_folder, "--studies", phantom / "test_images", "--out", out,
        "--test-csv", phantom / "test.csv", "--device", "cpu", "--threads", 1, cwd=tmp_path,
    )  # fmt: skip
    page, last = done.stdout.splitlines()[-2:]
    assert page == str(out / "index.html"), done.stderr
    predicted = int(re.fullmatch(r"(\d) of 2 studies predicted(, \d implausible)?", last)[1])
    assert done.returncode == {2: 0, 1: 2, 0: 3}[predicted]
    assert "1/2 " in done.stderr
    assert len((out / "inventory.csv").read_text().splitlines()) == 1 + len(list(phantom.glob("test_images/*/*")))
    with (phantom / "test.csv").open() as asked, (out / "submission.csv").open() as answered:
        wanted = [row["row_id"] for row in csv.DictReader(asked)]
        assert [row["row_id"] for row in csv.DictReader(answered)] == wanted
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert stat.S_IMODE((out / "predictions.csv").stat().st_mode) == 0o666 & ~umask()
    assert stat.S_IMODE((out / "inventory.csv").stat().st_mode) == 0o600
    page = (out / "index.html").read_text()
    for picture in out.glob("studies/*.png"):
        assert f'src="studies/{picture.name}"' in page


@pytest.mark.parametrize("missing", ["bundle", "studies"])
def test_a_mistake_is_one_sentence(phantom, bundle_folder, tmp_path, missing):
    paths = {"bundle": bundle_folder, "studies": phantom / "test_images"} | {missing: tmp_path / "nowhere"}
    done = _run("--bundle", paths["bundle"], "--studies", paths["studies"], "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_results_among_the_studies_are_refused(phantom, bundle_folder, tmp_path):
    studies = phantom / "test_images"
    done = _run("--bundle", bundle_folder, "--studies", studies, "--out", studies / "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "inside one another" in done.stderr


@pytest.mark.parametrize(
    ("text", "flips"),
    [(None, None), ("none", ("none",)), ("horizontal", ("horizontal",)), ("none,horizontal", ("none", "horizontal"))],
)
def test_flips_are_the_bundles_or_those_that_are_named(text, flips):
    assert flips_of(text) == flips


def test_flips_that_there_are_none_of_are_one_sentence(tmp_path):
    done = _run("--bundle", "b", "--studies", "s", "--out", "o", "--flips", "vertical", cwd=tmp_path)
    assert done.returncode == 1
    assert "vertical" in done.stderr
    assert "none,horizontal" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_networks_are_part_of_the_key_and_the_command_is_not():
    modules = set(code_parts())
    assert {"spine_models.models.unet", "spine_models.models.classifier", "spine_models.models.csn"} <= modules
    assert [name for name in modules if name.startswith("spine_models.commands")] == []


def test_some_of_the_networks_predict_and_the_record_names_them(phantom, bundle_folder, tmp_path):
    out, common = tmp_path / "out", ("--studies", phantom / "test_images", "--device", "cpu", "--threads", 1)
    for members in ("ir", "ip-0"):
        done = _run("--bundle", bundle_folder, "--out", out, *common, "--members", members, cwd=tmp_path)
        assert done.returncode in (0, 2, 3), done.stderr
        records = [json.loads(path.read_text()) for path in (out / "studies").glob("2.25.*[0-9].json")]
        assert len(records) == 2
        for record in records:
            assert set(record["facts"]["models"]) <= {f"{members.removesuffix('-0')}-0"}
            assert record["key"]["config"]["members"] == ["csn_unet-0", f"{members.removesuffix('-0')}-0"]


def test_a_table_of_series_for_studies_that_are_not_there_is_told(phantom, bundle_folder, tmp_path):
    there = min(path.name for path in (phantom / "test_images").iterdir())
    (tmp_path / "series.csv").write_text(f"study,series\n1.2.3,1.2.3.1\n{there},1.2.3.1\n")
    done = _run("--bundle", bundle_folder, "--studies", phantom / "test_images", "--out", tmp_path / "out",
                "--series-csv", "series.csv", "--device", "cpu", "--threads", 1, cwd=tmp_path)  # fmt: skip
    assert f"series.csv names studies that {phantom / 'test_images'} does not hold: 1 of 2" in done.stderr
    table = (tmp_path / "out" / "predictions.csv").read_text()
    assert table.count("the series that was asked for") == 1


def test_sigterm_ends_it_with_one_line_and_a_second_call_does_the_rest(phantom, bundle_folder, tmp_path):
    arguments = ("--bundle", bundle_folder, "--studies", phantom / "test_images", "--out", tmp_path / "out",
                 "--device", "cpu", "--threads", 1)  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "spine_models", "predict", *map(str, arguments)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("1/2 ")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 143
    assert said == "error: ended by SIGTERM: run the same command again, which keeps what is finished\n"
    assert not (tmp_path / "out" / "predictions.csv").exists()
    again = _run(*arguments, cwd=tmp_path)
    assert again.returncode in (0, 2, 3)
    first, second = (line for line in again.stderr.splitlines() if re.match(r"\d/2 ", line))
    assert "already predicted" in first
    assert "already predicted" not in second
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 3


def test_networks_that_there_are_none_of_are_one_sentence_before_the_first_study(phantom, bundle_folder, tmp_path):
    arguments = ("--bundle", bundle_folder, "--studies", phantom / "test_images", "--out", tmp_path / "out")
    done = _run(*arguments, "--members", "ir-7", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"error: --members ir-7 fits no network of {bundle_folder}: it has ir-0, ip-0, csn_unet-0\n")
    assert not (tmp_path / "out").exists()
