"""The user's files as they were when the workflow was planned, and whether a job still finds them so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file

_State = tuple[int, int, int]


class SeenFiles:
    """Files of which a plan knows the content.

    Args:
        words: ``DIGEST=FILE`` for each.

    Raises:
        UserError: if one has another content now.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._states: dict[Path, _State | None] = {}
        for word in words:
            digest, _, name = word.partition("=")
            path = Path(name)
            self._states[path] = _state(path)
            if not path.is_file() or digest_file(path) != digest:
                raise _changed(path)

    def require_unchanged(self) -> None:
        """Check that nobody has touched them since, after they were read.

        Raises:
            UserError: if one was changed, also where it was changed back.
        """
        for path, before in self._states.items():
            if _state(path) != before:
                raise _changed(path)


def _state(path: Path) -> _State | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _changed(path: Path) -> UserError:
    return UserError(
        f"{path} changed after the workflow had looked at it: see that it is whole, then run the same command again"
    )
