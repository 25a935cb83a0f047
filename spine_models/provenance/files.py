"""Files that are either complete or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` and rename it to ``path`` when the block ends without an error.

    The temporary file has the suffix of ``path``, because writers such as ``numpy.save`` and ``nibabel.save``
    choose or append one. It is removed when the block fails.

    Example:
        >>> with replacing(Path("table.csv")) as temporary:   # doctest: +SKIP
        ...     frame.to_csv(temporary)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_left_overs(folder: Path, stem: str = "*") -> None:
    """Remove what killed processes were writing by ``replacing`` in ``folder`` or below it.

    Call it under the lock of the only writer; ``stem`` limits it to files of that name without suffix.
    """
    for left_over in folder.rglob(f".{stem}.*.tmp*"):
        left_over.unlink()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically; bytes of a file's name that are no UTF-8 are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as sorted, indented JSON, atomically: equal values give equal bytes."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that the pipeline wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
