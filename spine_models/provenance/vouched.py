"""Published files that a later job reads: each stays plain, and the record beside it vouches for its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.keys import Key
from spine_models.provenance.records import FileFacts, file_facts, is_intact, read_record, write_record
from spine_models.provenance.sealed import read_sealed, write_sealed

SUFFIX = ".record.json"
"""What the record's name has more than that of its file."""
_KNOWN = 8
"""Contents that a record written ahead names: one more each time that a kill comes between it and the rename."""


def record_path(path: Path) -> Path:
    """Return where the record of the published file ``path`` is."""
    return path.with_name(f"{path.name}{SUFFIX}")


def vouch(path: Path, key: Key, known: FileFacts | None = None, facts: Mapping[str, Any] | None = None) -> None:
    """Write the record of a file that has just been published.

    Args:
        path: of the file.
        key: what the file depends on.
        known: what was recorded of the file before it was copied here; None: it is read once more.
        facts: what a later job has to know of how it was made.
    """
    write_record(record_path(path), key, {path.name: known or file_facts(path)}, dict(facts or {}))


def vouched(path: Path, output: Path | None = None) -> Path:
    """Return ``path`` after its content has been compared with its record.

    Args:
        path: of the file.
        output: what the workflow declares in its place, where that is the folder that holds it.

    Raises:
        UserError: if either is missing or damaged, or they differ; the sentence says how to repair it.
    """
    repair = f"run `snakemake --force {output or path}`, which makes it anew"
    if not path.is_file():
        raise UserError(f"{path} is missing: {repair}")
    try:
        record = read_record(record_path(path))
    except UserError:
        raise UserError(f"{record_path(path)}, the record of {path.name}, is missing or damaged: {repair}") from None
    facts = record.files.get(path.name)
    if facts is None or not is_intact(path, facts):
        raise UserError(f"{path} differs from its record: {repair}")
    return path


def vouched_if_ours(path: Path) -> Path:
    """Return ``path`` after its content has been compared with its record, where it has one.

    Tables of a data set are the user's, who vouches for them, or those of phantoms, which the workflow made.

    Raises:
        UserError: as ``vouched``.
    """
    return vouched(path) if record_path(path).is_file() else path


def vouch_ahead(path: Path, coming: Path) -> None:
    """Write the record of a file that is about to be replaced, so that a kill leaves no file that nothing vouches for.

    The record names what comes and what was there before; call it before the rename.

    Args:
        path: of the file.
        coming: the complete file that will be renamed to ``path``.
    """
    known = [asdict(file_facts(coming)), *_known(path)]
    write_sealed(record_path(path), {"known": known[:_KNOWN]})


def is_vouched_ahead(path: Path) -> bool:
    """Say whether ``path`` is one of what ``vouch_ahead`` said that it was or would be."""
    try:
        return any(is_intact(path, FileFacts(**facts)) for facts in _known(path))
    except TypeError:
        return False


def _known(path: Path) -> list[dict[str, Any]]:
    try:
        return list(read_sealed(record_path(path))["known"])
    except (FileNotFoundError, ValueError, KeyError):
        return []


def there(path: Path) -> list[Path]:
    """Return a file for ``digests`` that a user may not have; nothing where it is missing."""
    return [path] if path.is_file() else []


def digests(**files: Path | Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of files as the inputs of a key.

    Args:
        files: what the rule calls each input, to its file, or to files that differ in their names.
    """
    named = {name: file for name, file in files.items() if isinstance(file, Path)}
    for name, several in files.items():
        if not isinstance(several, Path):
            named |= {f"{name}/{file.name}": file for file in several}
    return {name: digest_file(file) for name, file in sorted(named.items())}
