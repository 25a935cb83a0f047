"""Reading a file of strangers once in a copy of this process, which may take only so much memory and time."""

from __future__ import annotations

import resource
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from spine_models.errors import UserError

MORE_BYTES = 450 << 20
"""Memory beyond the file's size that reading it may take."""
SECONDS = 3
_BYTES_A_SECOND = 50 << 20
"""Of a large file; honest ones are read ten times as fast."""


def rehearse(read: Callable[[Path], object], path: Path) -> None:
    """Call ``read(path)`` in a copy of this process, and throw away what it returns.

    A few bytes of a pickle or of a compressed archive can stand for any amount of memory or work, and no look at the
    file tells how much: so it is tried where it can do no harm.

    Raises:
        UserError: what ``read`` raised; or that the copy took too much memory or time, or died.
    """
    size = path.stat().st_size
    ours, theirs = get_context("fork").Pipe(duplex=False)
    copy = get_context("fork").Process(target=_try, args=(read, path, size, theirs), daemon=True)
    copy.start()
    theirs.close()
    try:
        sentence = ours.recv()
    except EOFError:
        sentence = f"{path} needs far more memory or time than its {size} bytes explain, or is damaged: remove it"
    finally:
        copy.join()
        ours.close()
    if sentence:
        raise UserError(sentence)


def _try(read: Callable[[Path], object], path: Path, size: int, told: Connection) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + size + MORE_BYTES)
    _limit(resource.RLIMIT_CPU, SECONDS + size // _BYTES_A_SECOND)
    try:
        read(path)
    except UserError as error:
        told.send(str(error))
    except MemoryError:
        told.close()
    else:
        told.send("")


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
