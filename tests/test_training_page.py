"""The examples of docs/training.md hold."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from spine_models.commands.training_needs import read_configuration

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/training.md").read_text(encoding="utf-8")
OVERLAYS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_a_configuration_that_runs(overlay, tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_text(overlay, encoding="utf-8")
    assert read_configuration([path]) != read_configuration([])


def test_what_the_page_names_is_there():
    assert OVERLAYS
    for module in re.findall(r"python -m ([\w.]+)", PAGE):
        assert importlib.util.find_spec(module), module
    for name in re.findall(r"(?:presets|tests)/[\w/.-]+\w|(?<=\]\()[\w/]+\.md", PAGE):
        assert (ROOT / name).exists() or (ROOT / "docs" / name).exists(), name
    for target in re.findall(r"`make ([\w-]+)", PAGE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), target
