"""Waiting for a disk that may come back, and what to say where it does not."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between attempts, a minute in all: what a file server takes to come back."""
_TRANSIENT = frozenset(
    (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOTCONN, errno.EHOSTDOWN, errno.EREMOTEIO,
     errno.EMFILE, errno.ENFILE, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)
)  # fmt: skip


def waiting_for_the_disk(action: Callable[[], T]) -> T:
    """Return what ``action`` returns; where the disk fails in a way that may pass, try again for up to a minute.

    Args:
        action: reads something; must be repeatable.

    Raises:
        OSError: if the disk goes on to fail, or fails in a way that waiting does not mend.
    """
    for wait in WAITS:
        try:
            return action()
        except OSError as error:
            if error.errno not in _TRANSIENT:
                raise
        time.sleep(wait)
    return action()


def not_given(what: str, error: OSError) -> str:
    """Return the sentence on what the disk does not give."""
    why = error.strerror or type(error).__name__
    advice = "see that the disk is mounted and may be read, then run the same command again"
    return f"{what} cannot be read ({why}): {advice}"
