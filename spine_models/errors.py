"""Errors that are meant for the person who runs the pipeline."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from spine_models.log import visible

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""
_OF_THE_DISK = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EISDIR, errno.ENOTDIR,
     errno.ENAMETOOLONG)
)  # fmt: skip
"""What a person can mend: permissions, a full disk, a file in the place of a folder."""


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the file or key, what is wrong and what to do."""


class StudyFailedError(UserError):
    """One study could not be worked on, for a reason that says nothing about it: never remembered as a refusal."""


def told(error: object) -> str:
    """Return the one line by which a terminal or a log tells a user's mistake."""
    return visible(f"error: {error}").replace("\n", "\\n")


def run_command(main: Callable[[], None]) -> None:
    """Run a command line's ``main`` and turn a person's mistake into one sentence and an exit status.

    A mistake is a ``UserError``, Ctrl-C, or an error of the disk that a person can mend.

    Args:
        main: parses the arguments, calls the library and writes the outputs.

    Raises:
        SystemExit: with status 1 after a mistake, 130 after Ctrl-C; any other exception passes with its trace, since
            it is a defect of ours.
    """
    try:
        main()
    except UserError as error:
        _end(error)
    except KeyboardInterrupt:
        _end("interrupted: run the same command again, which keeps what is finished", INTERRUPTED)
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        where = f"{error.filename} cannot be used" if error.filename else "a file cannot be read or written"
        _end(f"{where} ({error.strerror}): see to its permissions and to free space, then run the same command again")


def _end(sentence: object, status: int = 1) -> None:
    sys.stderr.write(f"{told(sentence)}\n")
    raise SystemExit(status) from None
