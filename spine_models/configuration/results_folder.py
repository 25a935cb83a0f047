"""The folder that results are written to: seen to be usable before anything is worked on."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from spine_models.errors import UserError


def require_folder(folder: Path, name: str) -> Path:
    """Check that ``folder`` is a folder or can become one, and return the deepest folder of its path that is there.

    Args:
        folder: where results are to be written; need not exist.
        name: of the option or key that names it, for the sentence.

    Raises:
        UserError: if it, or a part of its path, is a file.
    """
    there = next((part for part in (folder, *folder.parents) if os.path.lexists(part)), Path())
    if not there.is_dir():
        what = "is a file" if there == folder else f"leads through {there}, which is a file"
        raise UserError(f"{name} {folder} {what}: give a folder, it need not exist yet")
    return there


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that is there already keeps its permissions.

    Predictions are about patients, and whoever is let in should be let in on purpose. Files in it follow the umask.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)


def require_writable(folder: Path, name: str) -> None:
    """Check that results can be written to ``folder``, by a file without a name where the folder is or would be made.

    Raises:
        UserError: if it is a file, may not be written, or its disk is full.
    """
    there = require_folder(folder, name)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(
            f"{name} {folder} cannot be written ({error.strerror}): give a folder that you may write to"
        ) from None
