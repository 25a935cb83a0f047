"""Finds the records and arrays of studies over the shards of one stage."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spine_models.errors import UserError
from spine_models.provenance.manifest import read_manifests
from spine_models.provenance.records import ArrayReader, Record, read_record


class Shelf:
    """The studies of one stage, whatever shard they lie in."""

    def __init__(self, manifests: Iterable[Path]) -> None:
        """Read the manifests; records and arrays are opened when they are asked for."""
        read = read_manifests(manifests)
        self._paths = {study: manifest.record_path(study) for manifest in read for study in manifest.studies}
        self._digests = {study: digest for manifest in read for study, digest in manifest.studies.items()}
        self._reader = ArrayReader()
        self._records: dict[str, Record] = {}

    @property
    def studies(self) -> list[str]:
        """The studies that the stage made something of, sorted."""
        return sorted(self._paths)

    def record(self, study: str) -> Record:
        """Read the record of ``study``, once.

        Raises:
            UserError: if the stage did not handle the study, or its record is damaged.
        """
        if study not in self._records:
            self._records[study] = read_record(self._path(study))
        return self._records[study]

    def digest(self, study: str) -> str:
        """Return the digest of the content that the stage made of ``study``.

        Raises:
            UserError: if the stage did not handle the study.
        """
        self._path(study)
        return self._digests[study]

    def array(self, study: str, suffix: str = "") -> NDArray[Any]:
        """Open ``<study><suffix>.npy`` as a read-only memory map, checked against its record on the first touch.

        Raises:
            UserError: if the study is unknown or the array is damaged.
        """
        return self._reader.open(self._path(study), f"{study}{suffix}.npy")

    def _path(self, study: str) -> Path:
        try:
            return self._paths[study]
        except KeyError:
            raise UserError(f"study {study} is in none of the manifests given: run the stage before it again") from None


def remove_strangers(folder: Path, studies: Collection[str]) -> None:
    """Delete arrays and records in a shard's folder that belong to none of ``studies``."""
    for path in sorted(folder.iterdir()):
        study = path.stem.removesuffix("_mask")
        if path.suffix in (".npy", ".json") and study not in studies:
            path.unlink()
