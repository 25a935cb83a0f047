"""Folders that the user names in the configuration: asked for only by the jobs that need them, watched for changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from spine_models.configuration.user_tables import (
    require_folds,
    require_label_maps,
    require_series,
    require_studies,
    require_tables,
    require_test,
)
from spine_models.data.dataset.delimited import read_column
from spine_models.data.dataset.disk import patiently
from spine_models.data.dataset.doubts import DOUBTS, states_changed
from spine_models.data.dataset.label_files import (
    label_files,
    label_line,
    label_state,
    label_study,
    segmentation_files,
)
from spine_models.data.dataset.layout import (
    IMAGES,
    SEGMENTATIONS,
    TEST_IMAGES,
    TEST_TABLE,
    TRAIN_TABLE,
    digests_by_shard,
    folders_digests,
    list_files,
    list_tree,
    real,
    require_apart,
    require_dataset,
    require_train_table,
    stat_digest,
)
from spine_models.errors import UserError
from spine_models.inference.bundle_description import (
    DESCRIPTION,
    read_description,
    require_bundle_file,
    require_members,
    why_no_bundle,
)
from spine_models.models.networks import Stage
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.refused import Refused

GENERATED = "generated"
"""Digest of everything in a data set that the workflow generates: its rule's output says when it changed."""


class UserFolders:
    """The data set, the studies to predict and the bundle, as the configuration names them.

    Args:
        config: the checked configuration.
        look: read the tables that the configuration names once something needs them; a job of a cluster, which plans
            the workflow once more for itself, need not.
    """

    def __init__(self, config: Mapping[str, Any], look: bool = False) -> None:
        self._config = config
        self._look = look
        self._listed: set[str] = set()
        self._digests: dict[Path, str] = {}
        self.generated: bool = config["phantom"]["enabled"]
        self._ahead: Future[dict[int, str]] | None = None
        self._tables: Future[set[str]] | None = None

    def look_ahead(self) -> None:
        """Begin to look at the data set's study folders and tables in other processes, while the workflow is parsed.

        For 200,000 folders each takes as long as the parsing, so that all together take as long as one.
        """
        named = self._config["dataset_dir"]
        if named and not self.generated and (Path(named) / IMAGES).is_dir():
            pool = ProcessPoolExecutor(2, mp_context=get_context("fork"))
            self._ahead = pool.submit(folders_digests, Path(named), self._config["shards"])
            self._tables = pool.submit(require_tables, Path(named))
            pool.shutdown(wait=False)

    @cached_property
    def dataset(self) -> Path:
        """Folder of the data set.

        Raises:
            UserError: if it is not given, not in the challenge's layout, or has a mistake in a table.
        """
        if self.generated:
            return Path(self._config["output_dir"]) / "phantom"
        dataset = require_dataset(self._config["dataset_dir"])
        output = real(Path(self._config["output_dir"]))
        # Files in output_dir count as this workflow's own, whose changes its jobs tell.
        if real(dataset).is_relative_to(output) or any(
            output.is_relative_to(real(dataset / name)) for name in (IMAGES, TEST_IMAGES, SEGMENTATIONS)
        ):
            raise UserError(
                f"output_dir {self._config['output_dir']} and the data set {dataset} are inside one another: write the "
                "results into a folder of their own"
            )
        if self._tables:
            self._listed = self._tables.result()
        return dataset

    def require_studies(self) -> None:
        """Check that the data set has studies enough for the folds of the classifiers, which a table names.

        Raises:
            UserError: if it has not.
        """
        if self._look and not self.generated and self.dataset and self._listed:
            require_studies(self.dataset, self._listed, self._config["classification"]["fold_parts"])

    def require_label_maps(self) -> None:
        """Check that the data set has label maps enough for the folds of the segmentation.

        Raises:
            UserError: if it has not.
        """
        if self._look and not self.generated and self.dataset:
            require_label_maps(self.dataset, self._listed, self._config["segmentation"]["folds"])

    @cached_property
    def train_table(self) -> Path:
        """``train.csv``, for the jobs that learn fractures.

        Raises:
            UserError: if it is missing.
        """
        return self.dataset / TRAIN_TABLE if self.generated else require_train_table(self.dataset)

    @cached_property
    def folds_table(self) -> list[Path]:
        """The user's own folds; none where they are drawn.

        Raises:
            UserError: if the table cannot be used.
        """
        named = self._config["folds_csv"]
        if named and self._look and not self.generated and self.dataset:
            require_folds(Path(named), self._config["classification"]["fold_parts"], self._listed)
        return [Path(named)] if named else []

    @cached_property
    def series_table(self) -> list[Path]:
        """The table in which the user chooses series of studies to predict; none where there is none.

        Raises:
            UserError: if the table cannot be used.
        """
        named = self._config["prediction"]["series_csv"]
        if named and self._look:
            require_series(Path(named))
        return [Path(named)] if named else []

    @cached_property
    def _image_digests(self) -> dict[int, str]:
        dataset = self.dataset
        return self._ahead.result() if self._ahead else folders_digests(dataset, self._config["shards"])

    def images_digest(self, shard: int) -> str:
        """Return a digest over names and times of the study folders of ``shard``."""
        return GENERATED if self.generated else self._image_digests[shard]

    @cached_property
    def _label_digests(self) -> dict[int, str]:
        files = segmentation_files(self.dataset)
        lines = patiently(
            lambda: [(label_study(file.name) or file.name, label_line(file)) for file in files],
            f"a file of {self.dataset / SEGMENTATIONS}",
        )
        return digests_by_shard(lines, self._config["shards"])

    def labels_digest(self, shard: int) -> str:
        """Return a digest over names, sizes and times of the segmentations of ``shard``."""
        return GENERATED if self.generated else self._label_digests[shard]

    def images_mended(self, shard: int) -> str:
        """Return what says that studies of ``shard`` that were refused, or lost files, have other files now."""
        root, links = self.dataset, bool(self._config["allow_symlinks"])

        def state_of(study: str) -> str:
            try:
                return stat_digest(list_files(root / IMAGES / study, root, links))
            except (OSError, UserError, Refused):  # it is gone, or whoever reads it says why
                return ""

        return "" if self.generated else states_changed(self._made("volumes", shard) / DOUBTS, state_of)

    def labels_mended(self, shard: int) -> str:
        """Return what says that label maps of ``shard`` that were refused are others now."""
        if self.generated:
            return ""
        files = label_files(self.dataset)

        def state_of(study: str) -> str:
            try:
                return label_state(files.get(study, []))
            except UserError:  # a disk that does not answer; whoever reads the file says so
                return ""

        return states_changed(self._made("labels_half", shard) / DOUBTS, state_of)

    def _made(self, stage: str, shard: int) -> Path:
        return Path(self._config["output_dir"]) / stage / str(shard)

    def contents(self, files: str | Iterable[str | Path]) -> dict[str, str]:
        """Return the tables and descriptions of bundles that the user gave, each with a digest of its content.

        Files of this workflow's own output are left out: the jobs that make them say when they changed. So are files
        that are not there, which Snakemake names.

        Raises:
            UserError: if a file cannot be read.
        """
        own = Path(self._config["output_dir"]).resolve()
        named = [Path(file) for file in ([files] if isinstance(files, str) else files)]
        theirs = [file for file in named if file.is_file() and not file.resolve().is_relative_to(own)]
        return {str(file): self._digest_of(file) for file in theirs}

    def _digest_of(self, file: Path) -> str:
        if file not in self._digests:
            self._digests[file] = patiently(lambda: digest_file(file), str(file))
        return self._digests[file]

    @cached_property
    def listed_digest(self) -> str:
        """Digest over the studies of ``train.csv``; "" without it, and for phantoms, whose own rule tells.

        Raises:
            UserError: if the table cannot be read.
        """
        if self.generated:
            return ""
        table = self.dataset / TRAIN_TABLE
        if not table.is_file():
            return ""
        return digest_json(sorted(self._listed or read_column(table, "StudyInstanceUID")))

    @property
    def wants_predictions(self) -> bool:
        """Say whether there are studies to predict: those of predict_dir, or the data set's test images."""
        if self._config["predict_dir"]:
            return True
        if self.generated:
            return bool(self._config["phantom"]["test_studies"])
        named = self._config["dataset_dir"]
        folder = Path(named) / TEST_IMAGES
        # A link that leads nowhere, as to a disk that is not mounted, is not a data set without test images.
        return bool(named) and (folder.is_dir() or folder.is_symlink())

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
        if not (named or self.generated or self._config["dataset_dir"]):
            raise UserError(
                "neither predict_dir nor dataset_dir is set: name the folder that holds the studies to predict "
                "(--config predict_dir=DIR)"
            )
        folder = Path(named) if named else self.dataset / TEST_IMAGES
        if not self.predicts_generated and not folder.is_dir():
            key = f"predict_dir {folder} is not a folder" if named else f"there is no folder {folder}"
            raise UserError(f"{key}: set predict_dir to the folder that holds the studies")
        if named:
            require_apart(folder, Path(self._config["output_dir"]))
        return folder

    @cached_property
    def predict_digest(self) -> str:
        """Digest over paths, sizes and times of all files to predict; "" for phantoms, whose own rule tells."""
        if self.predicts_generated:
            return ""
        root, links = self.studies_to_predict, bool(self._config["allow_symlinks"])
        return stat_digest([entry.file for entry in list_tree(root, links)])

    @cached_property
    def test_table(self) -> list[Path]:
        """``test.csv``, if the studies to predict are the data set's test images and it is there.

        Raises:
            UserError: if it has a mistake.
        """
        if self._config["predict_dir"]:
            return []
        # Where nothing names studies, that is what is missing, and not the data set.
        table = self.studies_to_predict.parent / TEST_TABLE
        if self.generated:
            return [table]
        if self._look and table.is_file():
            require_test(table)
        return [table] if table.is_file() else []

    @property
    def prediction_bundle(self) -> Path | None:
        """The bundle that predicts, as the user names it; None for the one that this workflow exports.

        Raises:
            UserError: if it is not there, or there is neither one nor a data set to train one on.
        """
        if self._config["bundle"]:
            path = self.bundle_file("bundle")
            if self._config["prediction"]["members"]:
                require_members(path, self._config["prediction"]["members"])
            return path
        if not (self.generated or self._config["dataset_dir"]):
            raise UserError(
                "neither bundle nor dataset_dir is set: name the bundle that predicts (--config bundle=DIR), or a data "
                "set to train one on"
            )
        return None

    def bundle_file(self, key: str) -> Path:
        """Return the file that stands for the bundle that the configuration's ``key`` names.

        It is the description in a folder, or the one file that a bundle was packed into.

        Raises:
            UserError: if there is no bundle, or its description cannot be used.
        """
        named = Path(self._config[key])
        path = named if named.is_file() else named / DESCRIPTION
        if not path.is_file():
            raise UserError(f"{key} {named} {why_no_bundle(named)}")
        require_bundle_file(path, key)
        if self._look:
            read_description(path)
        return path

    def bundle_networks(self, key: str, stage: Stage) -> list[tuple[Path, str]]:
        """Return the files of the networks for ``stage`` in the bundle that ``key`` names, each with its SHA-256.

        Raises:
            UserError: if there is no bundle, it is damaged or has no network for ``stage``.
        """
        path = self.bundle_file(key)
        if path.name != DESCRIPTION:
            raise UserError(f"{key} {path} is one file: unpack it and name its folder, as trainings start from one")
        entries = getattr(read_description(path.parent), stage)
        found = [(path.parent / entry.file, entry.sha256) for entry in entries]
        if not found:
            raise UserError(
                f"{key} {self._config[key]} has no network for the {stage}: leave it empty, or name one that has"
            )
        return found
