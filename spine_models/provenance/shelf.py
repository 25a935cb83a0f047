"""Finds the records and arrays of studies over the shards of one stage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from spine_models.errors import UserError
from spine_models.provenance.facts import Facts
from spine_models.provenance.manifest import Manifest, read_manifests
from spine_models.provenance.records import Record, open_array

F = TypeVar("F", bound=Facts)


class Shelf:
    """The studies of one stage, whatever shard they are in."""

    def __init__(self, manifests: Iterable[Path]) -> None:
        """Read the manifests; records and arrays are opened when they are asked for."""
        self._manifests = {study: manifest for manifest in read_manifests(manifests) for study in manifest.studies}
        self._records: dict[str, Record] = {}
        self._facts: dict[tuple[str, type], Any] = {}
        self._checked: set[Path] = set()

    @property
    def studies(self) -> list[str]:
        """The studies that the stage made something of, sorted."""
        return sorted(self._manifests)

    def record(self, study: str) -> Record:
        """Read the record of ``study``, once; it has to be the one that its manifest names.

        Raises:
            UserError: if the stage did not handle the study, or its record is damaged or another one.
        """
        if study not in self._records:
            self._records[study] = self._manifest(study).record(study)
        return self._records[study]

    def facts(self, study: str, kind: type[F]) -> F:
        """Return the facts of the record of ``study``, read once.

        Raises:
            UserError: if the stage did not handle the study, or its record is damaged or holds other facts.
        """
        if (study, kind) not in self._facts:
            self._facts[study, kind] = self._manifest(study).facts(study, kind)
        found: F = self._facts[study, kind]
        return found

    def digest(self, study: str) -> str:
        """Return the digest of the content that the stage made of ``study``.

        Raises:
            UserError: if the stage did not handle the study.
        """
        return self._manifest(study).studies[study]

    def array(self, study: str, suffix: str = "") -> NDArray[Any]:
        """Open ``<study><suffix>.npy`` as a read-only memory map, checked against its record on the first touch.

        Raises:
            UserError: if the study is unknown or the array is damaged.
        """
        path, name = self._manifest(study).record_path(study), f"{study}{suffix}.npy"
        array = open_array(path, name, self.record(study), checked=path.with_name(name) in self._checked)
        self._checked.add(path.with_name(name))
        return array

    def _manifest(self, study: str) -> Manifest:
        try:
            return self._manifests[study]
        except KeyError:
            raise UserError(f"study {study} is in none of the manifests given: run the stage before it again") from None
