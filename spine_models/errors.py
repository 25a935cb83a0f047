"""Errors that are meant for the person who runs the pipeline."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from spine_models.bus_errors import tell_bus_errors
from spine_models.log import visible

_ADVICE = {
    errno.ENOSPC: "make room there, or move output_dir to another disk",
    errno.EDQUOT: "remove files of yours there, or have the quota raised",
    errno.EFBIG: "have the limit for the size of a file raised (ulimit -f)",
    errno.EROFS: "mount the disk so that it can be written, or choose another output_dir",
    errno.EACCES: "have the permissions of the folder corrected",
    errno.EPERM: "have the permissions of the folder corrected",
    errno.EISDIR: "move away the folder that is in the place of a file",
    errno.ENOTDIR: "move away the file that is in the place of a folder",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "have the machine's limit of open files raised",
    errno.ENOLCK: "mount the disk with locks (Lustre: the option flock; NFS: version 4)",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN,
         errno.ENETUNREACH, errno.EREMOTEIO, errno.ENODEV, errno.EINTR),
        "see that the disk is mounted and healthy",
    ),
}  # fmt: skip
"""What to do where a disk or the limits of a process stop it; other numbers are defects of ours."""

_ALSO_WITHOUT_MEMORY = (
    "could not create a primitive",
    "error return without exception set",
    "failed to map segment from shared object",
)
"""What oneDNN, Python and the loader say where they are refused memory; other faults of theirs have the same words."""

_OURS = ("spine_models", "workflow_scripts")
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""
TERMINATED = 143
"""Likewise after SIGTERM."""


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the file or key, what is wrong and what to do."""


class StudyFailedError(UserError):
    """One study could not be worked on, for a reason that says nothing about it: never remembered as a refusal."""


class StorageError(UserError):
    """A disk, or a limit of the process, stops a file from being read or written."""

    @classmethod
    def of(cls, error: OSError, path: Path | None = None) -> Self:
        """Return the sentence for ``error``, which ``is_of_storage``; it names ``path``, or the file of the error."""
        place = path or (Path(str(error.filename)) if isinstance(error.filename, str) else None)
        free = "" if place is None else _free(place)
        return cls(
            f"{place or 'a file'} cannot be read or written ({error.strerror}{free}): {_ADVICE[error.errno or 0]}, "
            "then run the same command again"
        )


def is_of_storage(error: OSError) -> bool:
    """Say whether ``error`` tells of the disk or of a limit, not of a defect."""
    return error.errno in _ADVICE


def is_of_memory(error: BaseException) -> bool:
    """Say whether ``error`` tells that the main memory ran out, in the words of Python, of the system or of PyTorch."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    words = ["DefaultCPUAllocator: can't allocate memory", "can't start new thread", os.strerror(errno.ENOMEM)]
    if _memory_is_limited():
        words += _ALSO_WITHOUT_MEMORY
    return isinstance(error, MemoryError) or any(part in str(error) for part in words)


def _memory_is_limited() -> bool:
    """Say whether this process can be refused memory; without a limit the kernel gives it, or kills."""
    return any(
        resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    )


def _free(path: Path) -> str:
    """Return how many bytes are free where ``path`` is or would be, as a part of a sentence."""
    for place in (path, *path.parents):
        try:
            return f"; {shutil.disk_usage(place).free:,} bytes are free there"
        except OSError:
            continue
    return ""


def told(error: object) -> str:
    """Return the one line by which a terminal or a log tells a user's mistake."""
    return visible(f"error: {error}").replace("\n", "\\n")


def run_command(main: Callable[[], None]) -> None:
    """Run a command line's ``main`` and turn a person's mistake into one sentence and an exit status.

    A mistake is a ``UserError``, Ctrl-C, a library that is missing, or an error of the disk that a person can mend.

    Args:
        main: parses the arguments, calls the library and writes the outputs.

    Raises:
        SystemExit: with status 1 after a mistake, and where a disk, a limit or the memory ends the work; 130 after
            Ctrl-C; any other exception passes with its trace, since it is a defect of ours.
    """
    try:
        tell_bus_errors()
        main()
    except UserError as error:
        _end(error)
    except KeyboardInterrupt:
        _end("interrupted: run the same command again, which keeps what is finished", INTERRUPTED)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in ("", *_OURS):
            raise
        _end(f"the library {name} is not installed in {sys.prefix}: run `make .venv`, or the commands of the README")
    except (MemoryError, RuntimeError, SystemError, ImportError, OSError) as error:
        if is_of_memory(error):
            _end("memory ran out: give the job more (mem_mb of the rule), or run fewer jobs at once")
        if not isinstance(error, OSError) or not is_of_storage(error):
            raise
        _end(str(StorageError.of(error)))


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which services and schedulers end a process, end the block as Ctrl-C does: with one sentence.

    For the main thread, and where no process is waited for that should go on.

    Raises:
        SystemExit: with status 143, wherever the signal comes.
    """
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    sentence = told("ended by SIGTERM: run the same command again, which keeps what is finished")
    # Not by way of sys.stderr, in the middle of which the signal may have come.
    os.write(2, f"{sentence}\n".encode())
    raise SystemExit(TERMINATED)


def _end(sentence: object, status: int = 1) -> None:
    sys.stderr.write(f"{told(sentence)}\n")
    raise SystemExit(status) from None
