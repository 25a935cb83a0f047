"""One writer at a time for a shard's or a training's folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spine_models.errors import UserError

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
"""What flock says where another process has the lock; any other errno means that it cannot lock here."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder`` for the duration of the block; it is freed when the process dies, however.

    Raises:
        UserError: if another process holds it, whom the sentence names with its host, or the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                raise UserError(
                    f"the file system of {folder} cannot lock files ({error.strerror}): mount it with locks (Lustre: "
                    "the option flock; NFS: version 4), or set output_dir to one that has them"
                ) from None
            stream.seek(0)
            holder = stream.read().strip() or "an unnamed process"
            raise UserError(
                f"{folder} is being written by {holder}: wait until it ends or stop it, then run the same command again"
            ) from None
        stream.seek(0)
        stream.truncate()
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield
