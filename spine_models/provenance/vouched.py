"""Published files that a later job reads: each stays plain, and the record beside it vouches for its content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.keys import Key
from spine_models.provenance.records import FileFacts, file_facts, is_intact, read_record, write_record

SUFFIX = ".record.json"
"""What the record's name has more than that of its file."""


def record_path(path: Path) -> Path:
    """Return where the record of the published file ``path`` is."""
    return path.with_name(f"{path.name}{SUFFIX}")


def vouch(path: Path, key: Key, known: FileFacts | None = None) -> None:
    """Write the record of a file that has just been published.

    Args:
        path: of the file.
        key: what the file depends on.
        known: what was recorded of the file before it was copied here; None: it is read once more.
    """
    write_record(record_path(path), key, {path.name: known or file_facts(path)}, {})


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
