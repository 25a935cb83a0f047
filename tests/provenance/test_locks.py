import errno
import multiprocessing
import os
import signal
import socket
from pathlib import Path

import pytest

from spine_models.errors import UserError
from spine_models.provenance import locks
from spine_models.provenance.locks import folder_lock


def _hold(folder, holding):
    with folder_lock(Path(folder)):
        holding.set()
        signal.pause()


@pytest.fixture
def holder(tmp_path):
    context = multiprocessing.get_context("spawn")
    holding = context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), holding))
    process.start()
    assert holding.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_writer_is_told_who_the_first_is(tmp_path, holder):
    with pytest.raises(UserError) as caught, folder_lock(tmp_path):
        pass
    assert f"process {holder.pid} on {socket.gethostname()}" in str(caught.value)


def test_a_killed_writer_frees_its_lock(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with folder_lock(tmp_path):
        assert f"process {os.getpid()}" in (tmp_path / ".lock").read_text()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_sentence_of_its_own(tmp_path, monkeypatch, number):
    def flock(stream, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(UserError, match="cannot lock files") as caught, folder_lock(tmp_path):
        pass
    assert "being written" not in str(caught.value)
