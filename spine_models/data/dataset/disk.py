"""Errors of the disk, which say nothing about what a file holds: never taken for content, never remembered."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from spine_models.data.dataset.patience import not_given, waiting_for_the_disk
from spine_models.errors import StudyFailedError

T = TypeVar("T")

_OF_THE_CONTENT = (None, errno.EINVAL)
"""Damaged bytes, too, end in an ``OSError``: without a number from decompressors, EINVAL where they say to seek."""


class DiskError(StudyFailedError):
    """A file or folder is there, but the disk does not give it; the sentence names no file, which may be a person's."""


class FilesChangedError(StudyFailedError):
    """Files changed between the first look at them and the last: what was read may be a part of each."""


def read_once_more(action: Callable[[], T]) -> T:
    """Return what ``action`` returns; where the files change under it, look and read anew, twice at most.

    Args:
        action: looks at files, reads them and compares; must be repeatable.

    Raises:
        FilesChangedError: if they go on to change.
    """
    for wait in (1.0, 4.0):
        try:
            return action()
        except FilesChangedError:
            time.sleep(wait)
    return action()


def of_the_machine(error: BaseException) -> bool:
    """Say whether an error is the disk's, or lack of memory, and so tells nothing of what a file holds."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in _OF_THE_CONTENT)


def patiently(action: Callable[[], T], what: str) -> T:
    """Return what ``action`` returns; where the disk fails in a way that may pass, try again for up to a minute.

    Args:
        action: reads something; must be repeatable.
        what: is read, for the sentence.

    Raises:
        DiskError: if the disk goes on to fail, or fails in a way that waiting does not mend.
    """
    try:
        return waiting_for_the_disk(action)
    except OSError as error:
        if not of_the_machine(error):
            raise
        raise DiskError(not_given(what, error)) from None
