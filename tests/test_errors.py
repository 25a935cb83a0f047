import errno
import mmap
import os
import shlex
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from spine_models.errors import UserError, run_command


def test_a_users_mistake_is_one_sentence_and_no_trace(capsys):
    def main():
        raise UserError("train.csv has no column C3: add it")

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: train.csv has no column C3: add it\n"


def test_a_defect_of_ours_keeps_its_trace():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main)


def test_an_interruption_is_a_sentence_and_the_status_that_shells_give(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "error: interrupted: run the same command again, which keeps what is finished\n"


def test_a_library_that_an_upgrade_needs_is_named_and_a_module_of_ours_is_a_defect(capsys):
    def main():
        import_module("no_such_library.part")

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the library no_such_library is not installed in ")
    assert said.endswith(": run `make .venv`, or the commands of the README\n")
    with pytest.raises(ModuleNotFoundError):
        run_command(lambda: import_module("spine_models.no_such_module"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.ENOTDIR])
def test_what_a_person_can_mend_on_the_disk_is_a_sentence(capsys, number):
    def main():
        raise OSError(number, os.strerror(number), "results/table.csv")

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: results/table.csv cannot be read or written ({os.strerror(number)}; ")
    assert said.endswith(", then run the same command again\n")


def test_any_other_error_of_the_system_is_a_defect_and_keeps_its_trace():
    def main():
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    with pytest.raises(OSError, match="Bad file descriptor"):
        run_command(main)


def raise_error(error):
    raise error


@pytest.mark.parametrize(
    "fail",
    [
        lambda: torch.empty(1 << 50, dtype=torch.uint8),
        lambda: np.empty(1 << 50, np.uint8),
        lambda: mmap.mmap(-1, 1 << 50),
        lambda: raise_error(RuntimeError("unable to mmap 8 bytes from file <a>: Cannot allocate memory (12)")),
    ],
    ids=["torch", "numpy", "system", "torch's memory maps"],
)
def test_memory_that_runs_out_is_a_sentence(capsys, fail):
    with pytest.raises(SystemExit) as caught:
        run_command(fail)
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "error: memory ran out: give the job more (mem_mb of the rule), or run fewer jobs at once\n"
    )


RAISE = "from spine_models.errors import run_command\ndef main(): raise {error}\nrun_command(main)"
WORDS = [
    SystemError("error return without exception set"),
    RuntimeError("could not create a primitive"),
    ImportError("_backend_agg.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", WORDS, ids=["Python", "oneDNN", "loader"])
def test_words_that_defects_share_tell_of_memory_only_where_it_is_limited(error):
    lines = "ulimit -v 40000000; exec " + shlex.join([sys.executable, "-c", RAISE.format(error=repr(error))])
    limited = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=False)
    assert limited.returncode == 1
    assert limited.stderr.startswith("error: memory ran out: ")
    with pytest.raises(type(error), match=str(error)):
        run_command(lambda: raise_error(error))
