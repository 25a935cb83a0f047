"""Lines for the people who read a job's log."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write ``line`` to the log, which is the standard error of every job.

    A statement that calls this function by its name is no part of a fingerprint.
    """
    sys.stderr.write(f"{line}\n")
