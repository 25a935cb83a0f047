"""The tables of the studies to predict."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from spine_models.data.dataset.layout import list_tree, require_apart, stat_digest
from spine_models.data.dataset.prediction_tables import PredictionIndex, files_aside
from spine_models.data.dicom.tree import read_tree
from spine_models.data.stages import index_predictions as stage
from spine_models.data.stages.index_predictions import IndexPredictionsSettings, index_predictions, read_studies
from spine_models.errors import UserError
from tests.data.dicom_builder import write_stack


def index_in(folder: Path) -> PredictionIndex:
    return PredictionIndex(folder / "files.csv", folder / "studies.csv")


def test_shards_are_disjoint_and_complete_and_paths_come_back(tmp_path) -> None:
    root, index = tmp_path / "root", index_in(tmp_path / "out")
    for number in range(12):
        write_stack(root / f'a, "b" {number}', count=2, StudyInstanceUID=f"1.2.{number}", SeriesInstanceUID=None)
    (root / b"caf\xe9".decode("utf-8", "surrogateescape")).write_text("text")
    index_predictions(root, index, IndexPredictionsSettings(3), "code")
    parts = [read_studies(index, shard) for shard in range(3)]
    assert sorted(study.name for part in parts for study in part) == sorted(f"1.2.{number}" for number in range(12))
    assert all((root / file.name).is_file() for part in parts for study in part for file in study.files)
    ((name, reason),) = files_aside(index)
    assert (root / name).is_file()
    assert reason == "not DICOM"
    assert index.files.stat().st_mode & 0o777 == 0o600


def test_nothing_to_predict(tmp_path) -> None:
    def sentence(root: Path) -> str:
        with pytest.raises(UserError) as caught:
            index_predictions(root, index_in(tmp_path / "out"), IndexPredictionsSettings(1), "code")
        return str(caught.value)

    assert "is not a folder" in sentence(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert "holds no DICOM file" in sentence(tmp_path / "empty")
    archive = tmp_path / "zipped" / "study.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("x", "x")
    assert "unpack" in sentence(archive.parent)
    assert "unpack" in sentence(archive)


@pytest.mark.parametrize(("studies", "out"), [("a", "a/out"), ("a/b", "a"), ("a", "a")])
def test_results_are_not_written_among_the_studies(tmp_path, studies, out) -> None:
    with pytest.raises(UserError, match="inside one another"):
        require_apart(tmp_path / studies, tmp_path / out)
    require_apart(tmp_path / "studies", tmp_path / "out")


def test_a_tree_that_is_another_than_the_plans_is_a_sentence(tmp_path) -> None:
    root, index, settings = tmp_path / "root", index_in(tmp_path / "out"), IndexPredictionsSettings(1)
    write_stack(root / "a", count=2)
    planned = stat_digest([entry.file for entry in list_tree(root, False)])
    index_predictions(root, index, settings, "code", planned)
    (file, *_) = (root / "a").iterdir()
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UserError, match="changed after the workflow had looked at them: wait until they are copied"):
        index_predictions(root, index, settings, "code", planned)


def test_a_tree_that_was_cut_while_it_was_read_and_is_whole_again_is_read_again(tmp_path, monkeypatch) -> None:
    root, index = tmp_path / "root", index_in(tmp_path / "out")
    write_stack(root / "a", count=2)
    file = next((root / "a").iterdir())
    data, there = file.read_bytes(), file.stat()
    read = []

    def cut_once(*arguments):
        if not read:
            file.write_bytes(data[:300])
        try:
            return read_tree(*arguments)
        finally:
            if not read:
                file.write_bytes(data)
                os.utime(file, ns=(there.st_atime_ns, there.st_mtime_ns))
            read.append(arguments)

    monkeypatch.setattr(stage, "read_tree", cut_once)
    monkeypatch.setattr("spine_models.data.dataset.disk.time.sleep", lambda seconds: None)
    index_predictions(root, index, IndexPredictionsSettings(1), "code")
    assert len(read) == 2
    (study,) = read_studies(index, 0)
    assert {f.name: f.size for f in study.files} == {f"a/{p.name}": p.stat().st_size for p in (root / "a").iterdir()}
