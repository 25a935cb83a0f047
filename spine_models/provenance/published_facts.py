"""Facts in published JSON files, which a later stage reads after the record beside each has vouched for it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from spine_models.errors import UserError
from spine_models.provenance.facts import Facts
from spine_models.provenance.files import read_json
from spine_models.provenance.vouched import vouched

F = TypeVar("F", bound=Facts)


def read_facts(path: Path, kind: type[F]) -> F:
    """Read a published file that holds the JSON form of ``kind``.

    Raises:
        UserError: if the file is missing, differs from its record or holds other facts.
    """
    try:
        return kind.from_json(read_json(vouched(path)))
    except (TypeError, ValueError, AttributeError):
        raise UserError(f"{path} holds other facts than this release reads: run `snakemake --force {path}`") from None
