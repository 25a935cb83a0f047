"""JSON files that end with a digest of themselves, so that a changed digit is never taken for a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spine_models.provenance.canonical import digest_json
from spine_models.provenance.files import read_json, write_json

_DIGEST = "digest"


class NotSealedError(ValueError):
    """A JSON file that holds no digest of itself: another writer's, or an earlier release's."""


class BrokenSealError(ValueError):
    """A JSON file whose content differs from its digest of itself."""


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` and the digest of it, atomically.

    Raises:
        ValueError: if ``value`` has a key "digest" of its own.
    """
    if _DIGEST in value:
        raise ValueError(f"the key {_DIGEST} is the seal's")
    write_json(path, {**value, _DIGEST: digest_json(value)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Return what ``write_sealed`` wrote.

    Raises:
        FileNotFoundError: if it is missing.
        BrokenSealError: if it differs from its digest.
        NotSealedError: if it is JSON without a digest.
        ValueError: if it is not JSON.
    """
    value = read_json(path)
    if not isinstance(value, dict) or _DIGEST not in value:
        raise NotSealedError(f"{path} holds no digest of itself")
    if value.pop(_DIGEST) != digest_json(value):
        raise BrokenSealError(f"{path} differs from its digest")
    return value
