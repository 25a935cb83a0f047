"""One spelling for every JSON value, and digests over it."""

from __future__ import annotations

import hashlib
import json
from io import BufferedReader
from typing import Any, Literal, Protocol

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """Write ``value`` as JSON with sorted keys and no spaces, so that equal values are equal strings.

    Raises:
        ValueError: if ``value`` holds a NaN or an infinity, which JSON cannot express.
        TypeError: if ``value`` holds an object that JSON does not know (numpy scalars among them).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_bytes(data: bytes | memoryview) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value`` as 64 hexadecimal digits."""
    return digest_bytes(canonical_json(value).encode("ascii"))


class Readable(Protocol):
    """What can be opened to be read: a path, or a file inside another one."""

    def open(self, mode: Literal["rb"]) -> BufferedReader:
        """Open it."""
        ...


def digest_file(path: Readable, length: int | None = None) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, in constant memory.

    Args:
        path: the file.
        length: bytes from its beginning that count; all if it is not given.
    """
    sha, left = hashlib.sha256(), length
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES)):
            sha.update(chunk)
            left = None if left is None else left - len(chunk)
    return sha.hexdigest()
