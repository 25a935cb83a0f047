"""Files that are either complete or not there."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spine_models.errors import StorageError, UserError, is_of_storage

_PROBE_BYTES = 1 << 16
_RUST = re.compile(r"\(os error (\d+)\)")


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Give a temporary name beside ``path`` and rename it to ``path`` when the block ends without an error.

    The temporary file has the suffix of ``path``, because writers such as ``numpy.save`` and ``nibabel.save``
    choose or append one. It is there already, empty and locked, under a random name, so that neither two processes nor
    two machines meet. It is removed when the block fails; where a kill leaves it, the next writer of ``path`` does so.

    Args:
        path: the file to write.
        mode: permissions of the file, before the umask.

    Raises:
        StorageError: if the disk does not take the file, however the writer reports that.

    Example:
        >>> with replacing(Path("table.csv")) as temporary:   # doctest: +SKIP
        ...     frame.to_csv(temporary)
    """
    with _storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_left_overs(path.parent, path.stem)
        temporary, held = _locked_file(path, mode)
    try:
        with _storage(path, held):
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(held)


def clear_left_overs(folder: Path, stem: str = "*", *, below: bool = False) -> None:
    """Remove what killed processes were writing by ``replacing`` in ``folder``; what somebody writes now stays.

    Args:
        folder: where to look.
        stem: of the files, their names without suffix; any, if it is not given.
        below: look into the folders of ``folder`` too.
    """
    pattern = f".{stem if stem == '*' else glob.escape(stem)}.*.tmp*"
    for left_over in [*(folder.rglob(pattern) if below else folder.glob(pattern))]:
        with suppress(OSError), left_over.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left_over.unlink()


def _locked_file(path: Path, mode: int) -> tuple[Path, int]:
    """Make an empty temporary file for ``path``; return it and a descriptor that locks it."""
    while True:
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.tmp{path.suffix}")
        held = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        # Without locks nobody removes it, either.
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.exists():
            return temporary, held
        os.close(held)  # taken for a left-over in the moment before the lock


@contextmanager
def _storage(path: Path, held: int | None = None) -> Iterator[None]:
    """Turn what the disk does not allow into a sentence that names ``path``.

    Libraries report a full disk by errors of their own: those in Rust say its number; for the others, ``held`` is asked
    whether it takes another block.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = error if isinstance(error, OSError) and error.errno else _said(error) or _refusal(held)
        if why is None or not is_of_storage(why):
            raise
        raise StorageError.of(why, path) from None


def _said(error: Exception) -> OSError | None:
    """Return the system's error that the message of a library in Rust names, if it names one."""
    number = _RUST.search(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def _refusal(held: int | None) -> OSError | None:
    """Return what stops a file from growing, None if nothing does."""
    if held is None:
        return None
    try:
        os.pwrite(held, bytes(_PROBE_BYTES), os.fstat(held).st_size)
        os.fsync(held)
    except OSError as error:
        return error
    return None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically; bytes of a file's name that are not UTF-8 are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as sorted, indented JSON, atomically: equal values give equal bytes."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that the pipeline wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
