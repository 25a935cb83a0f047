"""``epochs.json``: the epochs whose weights are kept, best first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.files import read_json, write_json
from spine_models.provenance.vouched import vouched

TABLE = "epochs.json"


@dataclass(frozen=True)
class Epoch:
    """One epoch whose weights are kept.

    Attributes:
        epoch: counted from 0.
        metric: of its validation.
        file: name of the ``.safetensors`` file.
        sha256: digest of that file.
        facts: what else the validation found.
    """

    epoch: int
    metric: float
    file: str
    sha256: str
    facts: dict[str, Any]


def write_table(folder: Path, best: list[Epoch]) -> None:
    """Write ``epochs.json`` beside the weights, best first."""
    keys = ("epoch", "metric", "file", "sha256")
    write_json(folder / TABLE, [{key: asdict(epoch)[key] for key in keys} for epoch in best])


def read_table(folder: Path) -> list[Epoch]:
    """Read ``epochs.json`` and check the files that it names.

    Raises:
        UserError: if the table or one of its files is missing or differs from its digest.
    """
    try:
        epochs = [Epoch(**entry, facts={}) for entry in read_json(vouched(folder / TABLE, folder))]
    except (OSError, ValueError, TypeError):
        raise UserError(f"{folder / TABLE} is damaged: {_repair(folder)}") from None
    for epoch in epochs:
        path = folder / epoch.file
        if not path.is_file() or digest_file(path) != epoch.sha256:
            raise UserError(f"{path} is missing or differs from its digest: {_repair(folder)}")
    return epochs


def _repair(folder: Path) -> str:
    return f"run `snakemake --force {folder}`, which makes it anew"
