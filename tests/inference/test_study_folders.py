"""Which folders are studies."""

import hashlib

import pytest

from spine_models.errors import UserError
from spine_models.inference.study_folders import folders_to_predict, shard_folders

DICOM = b"\0" * 128 + b"DICM"


def _file(path, content=DICOM):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_one_folder_a_study_and_a_name_that_may_be_a_patients_is_not_kept(tmp_path):
    _file(tmp_path / "1.2.3" / "1.dcm")
    _file(tmp_path / "Doe^Jane" / "1.dcm")
    _file(tmp_path / "DICOMDIR")
    _file(tmp_path / "readme.txt", b"text")
    folders = folders_to_predict(tmp_path)
    digest = "folder-" + hashlib.sha256(b"Doe^Jane").hexdigest()[:16]
    assert [(folder.path.name, folder.name, folder.uid) for folder in folders] == [
        ("1.2.3", "1.2.3", "1.2.3"),
        ("Doe^Jane", digest, None),
    ]


def test_a_folder_that_holds_the_files_itself(tmp_path):
    _file(tmp_path / "1.2.3" / "1.dcm")
    _file(tmp_path / "1.2.3" / "series" / "2.dcm")
    assert [folder.name for folder in folders_to_predict(tmp_path / "1.2.3")] == ["1.2.3"]


def test_files_without_a_preamble_are_a_study_where_there_are_no_folders(tmp_path):
    _file(tmp_path / "9.9" / "slice", b"no preamble")
    assert [folder.name for folder in folders_to_predict(tmp_path / "9.9")] == ["9.9"]


def test_shards_are_disjoint_and_complete(tmp_path):
    for index in range(20):
        _file(tmp_path / f"1.2.{index}" / "1.dcm")
    parts = [{folder.name for folder in shard_folders(tmp_path, shard, 3)} for shard in range(3)]
    assert set.union(*parts) == {f"1.2.{index}" for index in range(20)}
    assert sum(map(len, parts)) == 20
    assert all(parts)


def test_nothing_to_predict(tmp_path):
    with pytest.raises(UserError, match="is empty"):
        folders_to_predict(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        folders_to_predict(tmp_path / "missing")
