"""Errors of the disk are waited for where that can help, and never taken for content."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from spine_models.data.dataset import patience
from spine_models.data.dataset.disk import DiskError, patiently
from spine_models.data.dataset.layout import list_files
from spine_models.data.dataset.patience import WAITS
from spine_models.data.dataset.tables import read_series
from spine_models.data.dicom import file as dicom_file
from spine_models.data.dicom.study import VolumeSettings, open_study
from tests.data.dicom_builder import write_stack


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", seconds.append)
    return seconds


def failing(times: int, number: int):
    left = [times]

    def action() -> str:
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return "content"

    return action


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_disk_that_comes_back_is_waited_for(slept, number) -> None:
    assert patiently(failing(2, number), "it") == "content"
    assert slept == [1.0, 2.0]


def test_a_disk_that_stays_away_is_a_sentence_after_a_minute(slept) -> None:
    with pytest.raises(DiskError, match="it cannot be read"):
        patiently(failing(99, errno.EIO), "it")
    assert tuple(slept) == WAITS
    assert sum(slept) == 60


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT])
def test_what_waiting_does_not_mend_is_a_sentence_at_once(slept, number) -> None:
    with pytest.raises(DiskError):
        patiently(failing(1, number), "it")
    assert slept == []


def test_a_link_that_leads_nowhere_is_an_error_and_no_missing_slice(tmp_path, slept) -> None:
    write_stack(tmp_path / "1.2")
    (tmp_path / "1.2" / "3.dcm").unlink()
    (tmp_path / "1.2" / "3.dcm").symlink_to(tmp_path / "unmounted" / "SMITH.dcm")
    with pytest.raises(DiskError) as caught:
        list_files(tmp_path / "1.2", tmp_path, allow_symlinks=False)
    assert "SMITH" not in str(caught.value)


@pytest.mark.parametrize(("number", "fails"), [(errno.EIO, 1), (errno.EACCES, 1)])
def test_a_file_that_fails_to_open_is_read_again_or_ends_the_study(tmp_path, slept, monkeypatch, number, fails) -> None:
    """One failed open must not make a volume with one slice fewer."""
    write_stack(tmp_path)
    left, original = [fails], dicom_file._parse_path

    def parse(path, tags):
        if path.name == "3.dcm" and left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return original(path, tags)

    monkeypatch.setattr(dicom_file, "_parse_path", parse)
    if number == errno.EIO:
        assert open_study(tmp_path, tmp_path, VolumeSettings()).grid.shape[0] == 6
    else:
        with pytest.raises(DiskError):
            open_study(tmp_path, tmp_path, VolumeSettings())


@pytest.mark.parametrize("number", [None, errno.EINVAL])
def test_what_damaged_bytes_raise_is_not_the_disks(slept, number) -> None:
    """gzip raises an OSError without number, and a file that is told to seek before its beginning EINVAL."""

    def damaged() -> None:
        raise OSError(number, "damaged") if number else OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        patiently(damaged, "it")
    assert slept == []


def test_a_table_is_read_again_too(tmp_path, slept, monkeypatch) -> None:
    (tmp_path / "series.csv").write_text("study,series\n1.2,1.3\n")
    left, original = [2], Path.read_bytes

    def read(path: Path) -> bytes:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert read_series(tmp_path / "series.csv") == {"1.2": "1.3"}
    assert slept == [1.0, 2.0]
