"""One tiny data set for all tests of the phantom."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spine_models.data.phantom.dataset import generate_dataset
from spine_models.data.phantom.settings import PhantomSettings

TINY = PhantomSettings(
    studies=12, segmented=3, test_studies=1, defective=6, matrix=48, slice_mm=4.0, field_of_view_mm=150.0
)
SEED = 7


@dataclass(frozen=True)
class Tiny:
    root: Path
    summary: dict[str, Any]

    def of_split(self, split: str) -> list[str]:
        return [study for study, facts in self.summary["studies"].items() if facts["split"] == split]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("phantom") / "set"
    generate_dataset(root, TINY, SEED)
    return Tiny(root, json.loads((root / "phantom.json").read_text()))
