"""The declared output of a data rule: which studies a shard holds, and the digests of what was made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spine_models.errors import UserError
from spine_models.provenance.facts import Facts
from spine_models.provenance.records import Record, is_intact, read_record
from spine_models.provenance.sealed import read_sealed, write_sealed

F = TypeVar("F", bound=Facts)


@dataclass(frozen=True)
class Manifest:
    """One shard of one data rule.

    Attributes:
        studies: StudyInstanceUID to the digest of the study's record.
        refused: StudyInstanceUID to ``{"code": ..., "reason": ...}`` for studies put in quarantine here.
        path: the manifest's own file ``<stage>/<shard>.json``; arrays and records are in ``<stage>/<shard>/``.
    """

    studies: dict[str, str]
    refused: dict[str, dict[str, str]]
    path: Path

    def record_path(self, study: str) -> Path:
        """Return where the record of ``study`` is."""
        return self.path.with_suffix("") / f"{study}.json"

    def record(self, study: str) -> Record:
        """Read the record of ``study``, which has to be the one that the manifest names.

        Raises:
            UserError: if it is missing, damaged or another one.
        """
        return read_record(self.record_path(study), self.studies[study])

    def checked_files(self, study: str) -> dict[str, Path]:
        """Return name to path of the files of ``study``, after their content has been compared with its record.

        Raises:
            UserError: if the record or a file is missing, damaged or another one.
        """
        folder = self.record_path(study).parent
        for name, facts in self.record(study).files.items():
            if not is_intact(folder / name, facts):
                raise UserError(
                    f"{folder / name} is missing or differs from its record: run "
                    f"`snakemake --force {self.path}`, which makes what is missing anew"
                )
        return {name: folder / name for name in self.record(study).files}

    def facts(self, study: str, kind: type[F]) -> F:
        """Return the facts of the record of ``study``.

        Raises:
            UserError: if the record is missing, damaged or another one, or holds other facts.
        """
        try:
            return kind.from_json(self.record(study).facts)
        except (TypeError, ValueError):
            raise UserError(
                f"the record of study {study} in {self.path.with_suffix('')} holds other facts than this release "
                f"reads: run `snakemake --force {self.path}`"
            ) from None


def write_manifest(path: Path, studies: Mapping[str, str], refused: Mapping[str, Mapping[str, str]]) -> None:
    """Write a shard's manifest; call it after every record is written."""
    write_sealed(path, {"studies": dict(studies), "refused": {uid: dict(why) for uid, why in refused.items()}})


def read_manifest(path: Path) -> Manifest:
    """Read a shard's manifest.

    Raises:
        UserError: if it is missing or damaged.
    """
    try:
        raw = read_sealed(path)
        return Manifest(dict(raw["studies"]), dict(raw["refused"]), path)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is missing or damaged: run `snakemake --force {path}`, which makes it anew") from None


def read_manifests(paths: Iterable[Path]) -> list[Manifest]:
    """Read the manifests of several shards, in the order of their file names."""
    return [read_manifest(path) for path in sorted(paths)]
