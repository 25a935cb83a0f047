"""The commands that the documentation shows can be planned or asked for help, and its links lead somewhere."""

import csv
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import reduce
from pathlib import Path

import pytest
import yaml

from benchmarks.data_sets import write_empty_studies
from tests.bundle_files import write_description
from tests.workflow.runs import ROOT, snakemake

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = ROOT / "README.md"
FOLDERS = ("spine_models", "workflow_scripts", "rules", "tests", "benchmarks")
SOURCES = [path for name in FOLDERS for path in (ROOT / name).rglob("*.*")]


def commands(page: Path):
    """Return the lines of a page's code blocks that run something, without their comments."""
    blocks = re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    whole = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [shlex.split(line, comments=True) for line in whole if '"' not in line]
    return [words for words in lines if words]


def of_all_pages(*beginning):
    found = {tuple(words) for page in PAGES for words in commands(page)}
    return sorted(words for words in found if words[: len(beginning)] == beginning)


SNAKEMAKE = [tuple(words) for words in commands(README) if words[0] == "snakemake"]
COMMANDS = of_all_pages("spine-models")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    targets = re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text())
    missing = []
    for target in targets:
        name, _, heading = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (heading and heading not in headings(path)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_rules_that_a_page_names_exist(page):
    names = set(re.findall(r"`([\w/]+\.(?:py|smk))`", page.read_text()))
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in SOURCES]
    assert [name for name in sorted(names) if not any(file.endswith(f"/{name}") for file in files)] == []


def headings(page: Path):
    """Return the anchors of a page's headings, as they are made on the web."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_key_that_a_page_names_exists():
    """A dotted name of a section in a page's running text is a key of config.yaml."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    sections = "|".join(name for name, value in config.items() if isinstance(value, dict))
    unknown = []
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            # What an earlier release had is in the first column of a table.
            text = page.read_text()
            if page.name == "upgrade.md":
                text = re.sub(r"^\| `[^|]*\|", "|", text, flags=re.MULTILINE)
            for name in re.findall(rf"`((?:{sections})(?:\.\w+)+)`", text):
                try:
                    reduce(lambda part, key: part[key], name.split("."), config)
                except (KeyError, TypeError):
                    unknown.append(f"{page.name}: {name}")
    assert unknown == []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the README's commands name: a data set, studies, a bundle, presets."""
    folder = tmp_path_factory.mktemp("place")
    write_empty_studies(folder / "rsna", 4)
    (folder / "studies/one").mkdir(parents=True)
    write_description(folder / "bundle")
    return folder


@pytest.mark.parametrize("command", SNAKEMAKE, ids=" ".join)
def test_a_snakemake_command_of_the_readme_plans(command, place):
    words = [
        word.replace("/data/rsna", str(place / "rsna")).replace("/path/bundle", str(place / "bundle"))
        for word in command
    ]
    words = [
        word.replace("=/studies", f"={place}/studies").replace("presets/", f"{ROOT}/presets/") for word in words[1:]
    ]
    words = [word.replace("profiles/", f"{ROOT}/profiles/") for word in words]
    # A command that goes up to a stage leaves the data set to the reader's own overlay.
    data = [] if "--config" in words else ["--config", f"dataset_dir={place / 'rsna'}"]
    process = snakemake("-n", *words, *data, directory=place)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Job stats" in process.stdout + process.stderr


def test_the_readme_has_every_way_to_run():
    text = "\n".join(" ".join(command) for command in commands(README))
    needed = ["make demo", "make test", "--resources gpu=4", "presets/laptop-16g.yaml", "profiles/slurm"]
    needed += [
        "snakemake convert",
        "snakemake predict",
        "spine-models predict --bundle",
        "spine-models check",
    ]
    assert [words for words in needed if words not in text] == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_console_command_has_the_options_that_are_shown(words):
    options = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
    process = subprocess.run(
        [sys.executable, "-m", "spine_models", words[1], "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [option for option in options if option not in process.stdout.split()] == []


@pytest.mark.slow
@pytest.mark.xdist_group("tiny_run")
def test_the_commands_after_the_demo_run_as_they_stand(tiny_run, tmp_path):
    """A newcomer copies them; the tiny run is in the demo's place, since it has the same rules and folders."""
    section = README.read_text().split("## The demo, by hand\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    demo = tmp_path / "demo"
    shutil.copytree(tiny_run[0] / "tiny", demo)
    run = [shlex.split(line) for line in block.splitlines()]
    assert [words[1] for words in run] == ["summary", "check", "bundle", "predict"]
    for words in run:
        assert words[0] == "spine-models"
        command = [sys.executable, "-m", "spine_models", *words[1:]]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        # The tiny run's networks learnt too little for a neck: its prediction may end without an answer.
        allowed = (0, 2, 3) if words[1] == "predict" else (0,)
        assert process.returncode in allowed, process.stdout + process.stderr
    with (tmp_path / "new/predictions.csv").open() as file:
        predicted = {row["StudyInstanceUID"] for row in csv.DictReader(file)}
    assert predicted == {path.name for path in (demo / "phantom/test_images").iterdir()}
    named = re.findall(r"`((?:demo|new)/[\w/]+\.html)`", section)
    assert named and [name for name in named if not (tmp_path / name).is_file()] == []


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {word for page in PAGES for word in re.findall(r"`make ([\w.-]+)", page.read_text())}
    assert named - targets == set()


def test_the_demo_of_the_readme_is_the_preset():
    """The README states how many studies the demo generates: it must be the preset's number."""
    phantom = yaml.safe_load((ROOT / "presets/demo.yaml").read_text())["phantom"]
    assert f"{phantom['studies']} necks" in README.read_text()


def test_the_hooks_before_a_commit_are_those_of_make_lint():
    lint = re.search(r"^lint: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    asked = [line.strip().replace("$(BIN)/", ".venv/bin/") for line in lint.splitlines()]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == asked
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in local["hooks"])


def test_the_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
