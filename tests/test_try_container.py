"""The recipe of the container and how `make test-all` calls it; the container itself is tried there."""

import re
import shutil
from pathlib import Path

import pytest

from tests.workflow.runs import ROOT
from tools import try_container, try_wheel

RECIPE = (ROOT / "Containerfile").read_text()


def test_a_build_sees_the_wheels_and_nothing_else():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["*", "!dist/wheelhouse"]
    assert re.findall(r"^(?:COPY|ADD)\b", RECIPE, re.MULTILINE) == []


def test_the_image_has_no_root_and_resolves_nothing():
    assert re.findall(r"^USER (.*)$", RECIPE, re.MULTILINE) == [try_container.USER]
    (install,) = re.findall(r"pip install .*", RECIPE)
    assert {"--no-index", "--no-deps"} <= set(install.split())


def test_it_is_tried_without_network_and_without_a_folder_that_can_be_written():
    command = try_container.inside(Path("run"))
    assert {"--read-only", "--network=none", "--user=65534:65534"} <= set(command)
    assert [word for word in command if word.startswith("--volume")] == ["--volume=run:/data:ro"]


def test_without_podman_a_sentence_says_why_it_is_not_tried(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert try_container.why_not("spine_models") == "podman is not installed"


@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_without_the_image_a_sentence_says_what_builds_it():
    assert try_container.why_not("spine_models_nowhere") == (
        "there is no image spine_models_nowhere: `make container` builds it"
    )


def test_what_is_tried_on_the_other_pythons_is_there():
    assert try_wheel.TINY.is_file()
