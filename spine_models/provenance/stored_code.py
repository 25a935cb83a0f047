"""What a run's fingerprints were made from: ``code/<fingerprint>.json`` in its ``output_dir``, module to digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spine_models.provenance.files import read_json, write_json
from spine_models.provenance.fingerprint import fingerprint

STORED_CODE = "code"


def store_code(output_dir: Path, parts: Mapping[str, str]) -> None:
    """Store what a fingerprint is made from, unless a run has done so before.

    Args:
        output_dir: of the run.
        parts: see ``Fingerprints.parts``.
    """
    path = _code_path(output_dir, fingerprint(parts))
    if not path.is_file():
        write_json(path, dict(parts))


def changed_modules(output_dir: Path, earlier: str, parts: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return what differs between earlier code and ``parts``, sorted; None if the earlier code was not stored.

    Args:
        output_dir: of the run.
        earlier: fingerprint of the earlier code.
        parts: of the code now; see ``Fingerprints.parts``.
    """
    try:
        before: dict[str, str] = read_json(_code_path(output_dir, earlier))
        if fingerprint(before) != earlier:  # the file's name is the digest of its content
            return None
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return tuple(sorted(name for name in before.keys() | parts.keys() if before.get(name) != parts.get(name)))


def _code_path(output_dir: Path, code: str) -> Path:
    return output_dir / STORED_CODE / f"{code}.json"
