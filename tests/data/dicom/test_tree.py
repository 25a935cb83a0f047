"""Whose files these are: every file is of one study, or set aside with a reason."""

from __future__ import annotations

import errno
import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from spine_models.data.dataset.disk import DiskError
from spine_models.data.dicom import tree as trees
from spine_models.data.dicom.tree import Tree, read_tree
from spine_models.errors import UserError
from tests.data.dicom_builder import encoded, make_slice, ramp, write_stack

DICOMDIR = b"\0" * 128 + b"DICM"


def study(folder: Path, number: int, count: int = 4, **tags) -> None:
    own = {"StudyInstanceUID": f"1.2.7.{number}", "SeriesInstanceUID": f"1.2.8.{number}", "PatientID": f"P{number}"}
    write_stack(folder, count=count, **(own | tags))


def names(tree: Tree) -> dict[str, int]:
    return {study.name: len(study.files) for study in tree.studies}


def codes(tree: Tree) -> dict[str, str]:
    return {study.name: study.code for study in tree.studies if study.code}


def assert_accounted(tree: Tree, root: Path) -> None:
    """Every file once: in one study, or set aside."""
    found = [file.name for study in tree.studies for file in study.files] + list(tree.aside)
    assert sorted(found) == sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_medium_with_a_directory_and_a_viewer(tmp_path) -> None:
    study(tmp_path / "DICOM/PA000001/ST000001/SE000001", 1)
    study(tmp_path / "DICOM/PA000002/ST000001/SE000001", 2, 5)
    (tmp_path / "DICOMDIR").write_bytes(DICOMDIR)
    (tmp_path / "VIEWER").mkdir()
    (tmp_path / "VIEWER" / "view.exe").write_bytes(b"MZ")
    tree = read_tree(tmp_path, False)
    assert names(tree) == {"1.2.7.1": 4, "1.2.7.2": 5}
    assert set(tree.aside) == {"DICOMDIR", "VIEWER/view.exe"}
    assert_accounted(tree, tmp_path)


def test_series_folders_patients_and_several_studies_of_one(tmp_path) -> None:
    study(tmp_path / "PAT1/20240101/S1", 1)
    study(tmp_path / "PAT1/20240101/S2", 1, SeriesInstanceUID="1.2.9")
    study(tmp_path / "PAT1/20240601/S1", 2, PatientID="P1")
    study(tmp_path / "PAT2/1", 3)
    assert names(read_tree(tmp_path, False)) == {"1.2.7.1": 8, "1.2.7.2": 4, "1.2.7.3": 4}


def test_a_dump_of_all_files_in_one_folder(tmp_path) -> None:
    for number in range(3):
        uids = {"StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.3.{number}"}
        write_stack(tmp_path, count=4, name=lambda i, n=number: f"{i}{n}", **uids)
    assert names(read_tree(tmp_path, False)) == {"1.2.0": 4, "1.2.1": 4, "1.2.2": 4}


def test_files_without_study_uid_go_by_their_folder(tmp_path) -> None:
    study(tmp_path / "Doe^Jane", 1, StudyInstanceUID="")
    study(tmp_path / "9.8.7", 2, StudyInstanceUID=None)
    study(tmp_path / "mixed", 3, StudyInstanceUID=lambda i: "" if i == 2 else "1.2.7.3")
    digest = "folder-" + hashlib.sha256(b"Doe^Jane").hexdigest()[:16]
    assert names(read_tree(tmp_path, False)) == {digest: 4, "9.8.7": 4, "1.2.7.3": 4}


def test_a_uid_that_is_none_never_becomes_a_name(tmp_path) -> None:
    study(tmp_path, 1, StudyInstanceUID="../../Doe")
    (name,) = names(read_tree(tmp_path, False))
    assert name.startswith("folder-")


def test_a_table_may_ask_for_a_study_by_the_uid_of_its_folder(tmp_path) -> None:
    study(tmp_path / "5.5" / "S1", 1)
    study(tmp_path / "6.6" / "a", 2)
    study(tmp_path / "6.6" / "b", 3)
    study(tmp_path / "Doe", 4)
    assert {s.name: s.asked_as for s in read_tree(tmp_path, False).studies} == {
        "1.2.7.1": "5.5", "1.2.7.2": "", "1.2.7.3": "", "1.2.7.4": "",
    }  # fmt: skip


def test_two_patients_in_a_study_and_a_series_in_two_studies_are_refused_with_all_that_share_it(tmp_path) -> None:
    study(tmp_path / "a", 1, PatientID=lambda i: "SMITH" if i % 2 else "JONES")
    study(tmp_path / "b", 2, PatientID=lambda i: ("P2", " P2 ", "ANONYMOUS", "")[i])
    study(tmp_path / "c", 3, SeriesInstanceUID="1.2.9")
    study(tmp_path / "d", 4, SeriesInstanceUID="1.2.9")
    tree = read_tree(tmp_path, False)
    assert codes(tree) == {"1.2.7.1": "several_patients", "1.2.7.3": "series_shared", "1.2.7.4": "series_shared"}
    assert "SMITH" not in "".join(study.reason for study in tree.studies)


def test_archives_are_refused_and_programs_packed_likewise_are_not_studies(tmp_path) -> None:
    study(tmp_path / "a", 1)
    for name in ("study.zip", "viewer.jar"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x", "x")
    tree = read_tree(tmp_path, False)
    assert sorted(codes(tree).values()) == ["archive"]
    assert tree.aside == {"viewer.jar": "not DICOM"}
    assert_accounted(tree, tmp_path)


def test_a_damaged_file_belongs_to_its_folders_study_or_is_one(tmp_path) -> None:
    study(tmp_path / "a", 1)
    torn = (tmp_path / "a" / "0.dcm").read_bytes()[:150]
    (tmp_path / "a" / "torn").write_bytes(torn)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "torn").write_bytes(torn)
    tree = read_tree(tmp_path, False)
    assert names(tree)["1.2.7.1"] == 5
    assert len(tree.studies) == 2
    assert_accounted(tree, tmp_path)


def test_what_the_disk_does_not_give_fails_its_study_alone(tmp_path) -> None:
    study(tmp_path / "a", 1)
    study(tmp_path / "b", 2)
    (tmp_path / "a" / "lost").symlink_to(tmp_path / "unmounted" / "SMITH")
    tree = read_tree(tmp_path, False)
    assert codes(tree) == {"1.2.7.1": "failed"}
    assert "SMITH" not in "".join(study.reason for study in tree.studies)


@pytest.mark.parametrize("allowed", [True, False])
def test_links_out_of_the_tree_are_followed_only_if_allowed(tmp_path, allowed) -> None:
    study(tmp_path / "elsewhere", 1)
    root = tmp_path / "root"
    root.mkdir()
    (root / "9.9").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    tree = read_tree(root, allowed)
    assert names(tree) == ({"1.2.7.1": 4} if allowed else {"folder-" + hashlib.sha256(b".").hexdigest()[:16]: 1})
    assert list(codes(tree).values()) == ([] if allowed else ["link_outside"])


def test_folders_that_are_too_deep_are_a_sentence_and_circles_are_not(tmp_path) -> None:
    study(tmp_path / "a" / "b" / "c" / "d" / "e" / "f", 1)
    (tmp_path / "a" / "circle").symlink_to(tmp_path / "a", target_is_directory=True)
    assert names(read_tree(tmp_path, False)) == {"1.2.7.1": 4}
    study(tmp_path.joinpath(*"abcdefghijklmnopqrs"), 2)
    with pytest.raises(UserError, match="deep"):
        read_tree(tmp_path, False)


def test_headers_are_read_once(tmp_path, monkeypatch) -> None:
    study(tmp_path / "a", 1)
    (tmp_path / "b").write_bytes(encoded(make_slice(ramp(1), StudyInstanceUID="1.2.7.2")))
    seen, original = [], trees.parse_file
    monkeypatch.setattr(trees, "parse_file", lambda path, tags: seen.append(path.name) or original(path, tags))
    read_tree(tmp_path, False)
    assert sorted(seen) == ["0.dcm", "1.dcm", "2.dcm", "3.dcm", "b"]


@pytest.fixture
def closed(monkeypatch) -> list[Path]:
    """Folders that the disk does not give."""
    folders: list[Path] = []
    original = os.scandir

    def scandir(folder):
        if Path(folder) in folders:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    return folders


def test_a_folder_of_a_series_that_cannot_be_read_fails_its_study_alone(tmp_path, closed) -> None:
    """What it holds is unknown: the study must not be read from its other series as if nothing were missing."""
    study(tmp_path / "one" / "a", 1)
    study(tmp_path / "two", 2)
    (tmp_path / "one" / "b").mkdir()
    closed.append(tmp_path / "one" / "b")
    tree = read_tree(tmp_path, False)
    assert codes(tree) == {"1.2.7.1": "failed"}
    assert names(tree) == {"1.2.7.1": 5, "1.2.7.2": 4}


def test_a_folder_of_a_study_that_cannot_be_read_is_one_that_failed(tmp_path, closed) -> None:
    study(tmp_path / "1.2.7.1", 1)
    study(tmp_path / "1.2.7.2", 2)
    closed.append(tmp_path / "1.2.7.2")
    tree = read_tree(tmp_path, False)
    assert names(tree) == {"1.2.7.1": 4, "1.2.7.2": 1}
    assert codes(tree) == {"1.2.7.2": "failed"}
    closed.append(tmp_path)
    with pytest.raises(DiskError):
        read_tree(tmp_path, False)


@pytest.mark.parametrize("link", ["unmounted", "lost"])
def test_a_series_behind_a_link_that_leads_nowhere_fails_its_study(tmp_path, link) -> None:
    """To a disk that is not mounted, or to itself."""
    study(tmp_path / "one" / "a", 1)
    study(tmp_path / "two", 2)
    (tmp_path / "one" / "lost").symlink_to(tmp_path / "one" / link, target_is_directory=True)
    tree = read_tree(tmp_path, False)
    assert codes(tree) == {"1.2.7.1": "failed"}


def test_a_series_behind_a_link_out_of_the_tree_refuses_its_study(tmp_path) -> None:
    root = tmp_path / "root"
    study(root / "one" / "a", 1)
    study(tmp_path / "elsewhere", 1, SeriesInstanceUID="1.2.9")
    (root / "one" / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert codes(read_tree(root, False)) == {"1.2.7.1": "link_outside"}
    assert names(read_tree(root, True)) == {"1.2.7.1": 8}


@pytest.mark.parametrize("failure", [MemoryError, RecursionError, AttributeError])
def test_a_bug_in_one_file_fails_its_study_alone(tmp_path, monkeypatch, failure) -> None:
    study(tmp_path / "a", 1)
    study(tmp_path / "b", 2)
    original = trees.parse_file

    def parse(path, tags):
        if path == tmp_path / "a" / "2.dcm":
            raise failure
        return original(path, tags)

    monkeypatch.setattr(trees, "parse_file", parse)
    tree = read_tree(tmp_path, False)
    assert names(tree) == {"1.2.7.1": 4, "1.2.7.2": 4}
    assert codes(tree) == {"1.2.7.1": "failed"}
