"""Errors that are meant for the person who runs the pipeline."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the file or key, what is wrong and what to do."""


class StudyFailedError(UserError):
    """One study could not be worked on, for a reason that says nothing about it: never remembered as a refusal."""


def run_command(main: Callable[[], None]) -> None:
    """Run a command line's ``main`` and turn a ``UserError`` into its sentence and exit status 1.

    Args:
        main: parses the arguments, calls the library and writes the outputs.

    Raises:
        SystemExit: with status 1 after a ``UserError``; any other exception passes with its trace, since it
            is a defect of ours and not a mistake of the user's.
    """
    try:
        main()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from None
