"""What names a failed study is tried again by the next run."""

from __future__ import annotations

from pathlib import Path

import pytest

from spine_models.configuration.unfinished import unfinished
from spine_models.data.dataset.prediction_tables import write_private
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.shard import FAILED


def written(path: Path, code: str) -> Path:
    if path.suffix == ".csv":
        write_private(path, ("study", "code", "reason"), [("1.2", "", ""), ("1.3", code, "a reason")])
    else:
        write_manifest(path, {}, {"1.3": {"code": code, "reason": "a reason"}})
    return path


@pytest.mark.parametrize("name", ["0.json", "studies.csv"])
def test_only_a_failure_is_unfinished_and_each_one_anew(tmp_path, name) -> None:
    path = tmp_path / name
    assert unfinished(path) == ""
    assert unfinished(written(path, "no_ct")) == ""
    first = unfinished(written(path, FAILED))
    assert first != ""
    assert unfinished(written(path, FAILED)) not in ("", first)


@pytest.mark.parametrize("text", ["", "[]", '{"refused": 5}', "{"])
def test_a_damaged_manifest_is_left_to_its_reader(tmp_path, text) -> None:
    (tmp_path / "0.json").write_text(text)
    assert unfinished(tmp_path / "0.json") == ""
