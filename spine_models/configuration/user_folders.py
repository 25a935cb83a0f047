"""Folders that the user names in the configuration: asked for only by the jobs that need them, watched for changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from spine_models.data.dataset.label_files import label_study
from spine_models.data.dataset.layout import (
    IMAGES,
    SEGMENTATIONS,
    TEST_IMAGES,
    TEST_TABLE,
    digests_by_shard,
    folders_digests,
    list_tree,
    require_apart,
    require_dataset,
    stat_digest,
)
from spine_models.errors import UserError
from spine_models.provenance.files import read_json

GENERATED = "generated"
"""Digest of everything in a data set that the workflow generates: its rule's output says when it changed."""


class UserFolders:
    """The data set, the studies to predict and the bundle, as the configuration names them.

    Args:
        config: the checked configuration.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self.generated: bool = config["phantom"]["enabled"]
        self._ahead: Future[dict[int, str]] | None = None

    def look_ahead(self) -> None:
        """Begin to look at the data set's study folders in a second process, while the workflow is being parsed.

        For 200,000 folders it takes as long as the parsing, so that the two together take as long as one.
        """
        named = self._config["dataset_dir"]
        if named and not self.generated and (Path(named) / IMAGES).is_dir():
            pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
            self._ahead = pool.submit(folders_digests, Path(named), self._config["shards"])
            pool.shutdown(wait=False)

    @cached_property
    def dataset(self) -> Path:
        """Folder of the data set.

        Raises:
            UserError: if it is not given or not in the challenge's layout.
        """
        if self.generated:
            return Path(self._config["output_dir"]) / "phantom"
        return require_dataset(self._config["dataset_dir"])

    @cached_property
    def _image_digests(self) -> dict[int, str]:
        dataset = self.dataset
        return self._ahead.result() if self._ahead else folders_digests(dataset, self._config["shards"])

    def images_digest(self, shard: int) -> str:
        """Return a digest over names and times of the study folders of ``shard``."""
        return GENERATED if self.generated else self._image_digests[shard]

    @cached_property
    def _label_digests(self) -> dict[int, str]:
        folder = self.dataset / SEGMENTATIONS
        lines = map(_label_line, os.scandir(folder)) if folder.is_dir() else ()
        return digests_by_shard(lines, self._config["shards"])

    def labels_digest(self, shard: int) -> str:
        """Return a digest over names, sizes and times of the segmentations of ``shard``."""
        return GENERATED if self.generated else self._label_digests[shard]

    @property
    def wants_predictions(self) -> bool:
        """Say whether there are studies to predict: those of predict_dir, or the data set's test images."""
        if self._config["predict_dir"]:
            return True
        if self.generated:
            return bool(self._config["phantom"]["test_studies"])
        named = self._config["dataset_dir"]
        return bool(named) and (Path(named) / TEST_IMAGES).is_dir()

    @property
    def predicts_generated(self) -> bool:
        """Say whether the studies to predict are phantoms."""
        return self.generated and not self._config["predict_dir"]

    @cached_property
    def studies_to_predict(self) -> Path:
        """Folder with one folder a study to predict.

        Raises:
            UserError: if there is none.
        """
        named = self._config["predict_dir"]
        folder = Path(named) if named else self.dataset / TEST_IMAGES
        if not self.predicts_generated and not folder.is_dir():
            key = f"predict_dir {folder} is no folder" if named else f"there is no folder {folder}"
            raise UserError(f"{key}: set predict_dir to the folder that holds the studies")
        if named:
            require_apart(folder, Path(self._config["output_dir"]))
        return folder

    @cached_property
    def predict_digest(self) -> str:
        """Digest over paths, sizes and times of all files to predict, so that a new nested series is noticed."""
        if self.predicts_generated:
            return GENERATED
        root, links = self.studies_to_predict, bool(self._config["allow_symlinks"])
        return stat_digest([entry.file for entry in list_tree(root, links)])

    @property
    def test_table(self) -> list[Path]:
        """``test.csv``, if the studies to predict are the data set's test images and it is there."""
        if self._config["predict_dir"]:
            return []
        table = self.dataset / TEST_TABLE
        return [table] if self.generated or table.is_file() else []

    def bundle_file(self, key: str) -> Path:
        """Return the description of the bundle that the configuration's ``key`` names.

        Raises:
            UserError: if there is no bundle.
        """
        path = Path(self._config[key]) / "bundle.json"
        if not path.is_file():
            raise UserError(f"{key} {self._config[key]} has no bundle.json: give the folder that export_bundle wrote")
        return path

    def bundle_networks(self, key: str, stage: str) -> list[tuple[Path, str]]:
        """Return the files of the networks for ``stage`` in the bundle that ``key`` names, each with its SHA-256.

        Raises:
            UserError: if there is no bundle, it is damaged or has no network for ``stage``.
        """
        path = self.bundle_file(key)
        try:
            entries = read_json(path)[stage]
            found = [(path.with_name(Path(entry["file"]).name), str(entry["sha256"])) for entry in entries]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged: copy the bundle again") from None
        if not found:
            raise UserError(
                f"{key} {self._config[key]} has no network for the {stage}: leave it empty, or name one that has"
            )
        return found


def _label_line(file: os.DirEntry[str]) -> tuple[str, str]:
    """Return the study of a segmentation, and its name, size and time."""
    stat = file.stat()
    study = label_study(file.name) or file.name
    return study, f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
