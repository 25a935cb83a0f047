"""``epochs.json``: the epochs whose weights are kept, best first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spine_models.errors import UserError
from spine_models.evaluation.epochs import Epoch
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.files import read_json, write_json
from spine_models.provenance.vouched import vouched

TABLE = "epochs.json"


def write_table(folder: Path, best: Iterable[Epoch]) -> None:
    """Write ``epochs.json`` beside the weights, best first."""
    write_json(folder / TABLE, [epoch.to_json() for epoch in best])


def read_table(folder: Path) -> list[Epoch]:
    """Read ``epochs.json`` and check the files that it names.

    Raises:
        UserError: if the table or one of its files is missing or differs from its digest.
    """
    try:
        epochs = [Epoch.from_json(entry) for entry in read_json(vouched(folder / TABLE, folder))]
    except (OSError, ValueError, TypeError, AttributeError):
        raise UserError(f"{folder / TABLE} is damaged: {_repair(folder)}") from None
    for epoch in epochs:
        path = folder / epoch.file
        if not path.is_file() or digest_file(path) != epoch.sha256:
            raise UserError(f"{path} is missing or differs from its digest: {_repair(folder)}")
    return epochs


def _repair(folder: Path) -> str:
    return f"run `snakemake --force {folder}`, which makes it anew"
