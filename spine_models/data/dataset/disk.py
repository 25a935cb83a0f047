"""Errors of the disk, which say nothing about what a file holds: waited for where that can help, never remembered."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from spine_models.errors import StudyFailedError

T = TypeVar("T")

WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between attempts, a minute in all: what a file server takes to come back."""
_TRANSIENT = frozenset(
    (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOTCONN, errno.EHOSTDOWN, errno.EREMOTEIO,
     errno.EMFILE, errno.ENFILE, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)
)  # fmt: skip


class DiskError(StudyFailedError):
    """A file or folder is there, but the disk does not give it; the sentence names no file, which may be a person's."""


def patiently(action: Callable[[], T], what: str) -> T:
    """Return what ``action`` returns; where the disk fails in a way that may pass, try again for up to a minute.

    Args:
        action: reads something; must be repeatable.
        what: is read, for the sentence.

    Raises:
        DiskError: if the disk goes on to fail, or fails in a way that waiting does not mend.
    """
    for wait in (*WAITS, None):
        try:
            return action()
        except OSError as error:
            if wait is None or error.errno not in _TRANSIENT:
                why = error.strerror or type(error).__name__
                raise DiskError(
                    f"{what} cannot be read ({why}): see that the disk is mounted and may be read, then run the same "
                    "command again"
                ) from None
            time.sleep(wait)
    raise AssertionError("unreachable")
