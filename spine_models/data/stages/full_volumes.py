"""A shard's full-size volumes for the one stage that reads them: stored ones, and dropped ones decoded once more."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset import layout
from spine_models.data.dataset.label_files import label_files
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dicom.study import VolumeSettings, decode_study, open_study
from spine_models.data.stages.label_stack import label_grid, stack_of
from spine_models.errors import UserError
from spine_models.processes import ChildProcess
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.records import is_array
from spine_models.provenance.shelf import Shelf


class FullVolumes:
    """The full-size volumes of a shard.

    Args:
        manifest: of the full-size volumes.
        dataset_dir: the data set, for volumes that are not stored.
        settings: those of the conversion; without ``keep_volumes`` an array is removed once it was used.
    """

    def __init__(self, manifest: Path, dataset_dir: Path, settings: VolumeSettings) -> None:
        self._shelf, self._folder = Shelf([manifest]), manifest.with_suffix("")
        self._dataset, self._settings = dataset_dir, settings

    def digest(self, study: str) -> str:
        """Return the digest of the volume's content, stored or not; see ``Shelf.digest``."""
        return self._shelf.digest(study)

    def array(self, study: str, child: ChildProcess) -> NDArray[np.int16]:
        """Return the volume, int16 HU (z, y, x): a memory map, or decoded from the data set where it is not stored.

        Args:
            study: the study.
            child: decodes it.

        Raises:
            UserError: if the stored array is damaged, or the study's files are no longer those that it was made from.
            StudyFailedError: if the disk does not give a file, or the child dies.
        """
        return self._shelf.array(study) if self._path(study).exists() else self._decoded(study, child)

    def release(self, study: str) -> None:
        """Remove the array, if arrays are not to be kept; its record stays, and with it all that depends on it.

        Raises:
            UserError: if another process writes this shard.
        """
        if not self._settings.keep_volumes and self._path(study).exists():
            with folder_lock(self._folder):
                self._path(study).unlink()

    @cached_property
    def _labels(self) -> dict[str, list[Path]]:
        return label_files(self._dataset)

    def _path(self, study: str) -> Path:
        return self._folder / f"{study}.npy"

    def _decoded(self, study: str, child: ChildProcess) -> NDArray[np.int16]:
        facts = self._shelf.record(study).files[f"{study}.npy"]
        folder = self._dataset / layout.IMAGES / study
        try:
            choose = stack_of(label_grid(self._labels.get(study, []), self._dataset, self._settings))
            source = child.call(open_study, folder, self._dataset, self._settings, choose)
            volume = child.call(decode_study, source, self._settings).full
        except StudyRefused:
            volume = None
        if volume is None or not is_array(volume, facts):
            raise UserError(
                f"study {study} is no longer what it was converted from, and its full-size volume is not stored: "
                "run the same command with `--forcerun index_studies`, or put its files back"
            )
        return volume
