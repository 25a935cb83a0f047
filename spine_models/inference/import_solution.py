"""The published solution's own weights as a bundle, with the settings of its author's inference."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spine_models.data.dataset.study_tokens import TRAINING_STUDIES, study_tokens
from spine_models.data.dataset.tables import read_solution_folds
from spine_models.errors import UserError
from spine_models.inference.bundle_description import DESCRIPTION
from spine_models.inference.export_bundle import BundleContents, prior_of, write_bundle
from spine_models.inference.model_card import CARD
from spine_models.inference.solution_settings import AUTHORS_SETTINGS, OUR_SETTINGS, PUBLISHED_PRIOR
from spine_models.levels import TARGETS
from spine_models.models.networks import Stage, kinds_of
from spine_models.models.solution_checkpoints import read_solution_checkpoint
from spine_models.models.weights import save_model
from spine_models.provenance.canonical import digest_file

_TEMPORARY = ".import-"
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80\x02"
"""First bytes of what ``torch.save`` writes, today and before torch 1.6."""


@dataclass(frozen=True)
class SolutionTables:
    """The published fold tables, as far as the user has them.

    Attributes:
        classification: ``folds.csv``, or None.
        segmentation: ``seg_folds.csv``, or None.
        folds: name of a checkpoint's file to the fold that its training held out; the others are taken to have seen
            every study of their table.
    """

    classification: Path | None = None
    segmentation: Path | None = None
    folds: Mapping[str, int] | None = None


@dataclass(frozen=True)
class ImportedNetwork:
    """One network of the new bundle.

    Attributes:
        checkpoint: name of the file that it was read from.
        stage: what it is for.
        title: for people: "segmentation network", "classifier ir-152".
    """

    checkpoint: str
    stage: Stage
    title: str


@dataclass(frozen=True)
class Imported:
    """What became of a folder of checkpoints.

    Attributes:
        networks: of the bundle.
        skipped: names of files that are not checkpoints, or hold the same bytes as one before.
        notes: sentences on what the bundle does not know.
    """

    networks: tuple[ImportedNetwork, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def import_solution(
    folder: Path, out: Path, tables: SolutionTables, *, our_defaults: bool, progress: Callable[[str], None]
) -> Imported:
    """Read every checkpoint of a folder and write a bundle of their networks.

    Args:
        folder: with the checkpoints; their names do not matter.
        out: folder of the bundle, new, empty or of an earlier bundle.
        tables: fold tables of the published solution.
        our_defaults: predict with this pipeline's settings instead of those of the author's inference.
        progress: told the name of each file before it is read.

    Raises:
        UserError: if a file, a table or the folder cannot be used, or no checkpoint is of a segmentation network.
    """
    _require_own_folder(out)
    paths, skipped = _checkpoints(folder)
    seen: dict[Stage, _Seen] = {
        "segmentation": _Seen(tables.segmentation, tables.folds or {}),
        "classification": _Seen(tables.classification, tables.folds or {}),
    }
    _require_known(tables.folds or {}, paths)
    found: list[ImportedNetwork] = []
    out.mkdir(parents=True, exist_ok=True)
    for left_over in out.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(left_over)
    with TemporaryDirectory(dir=out, prefix=_TEMPORARY) as temporary:
        files: dict[Stage, list[Path]] = {"segmentation": [], "classification": []}
        for number, path in enumerate(paths):
            progress(path.name)
            network, converted = _convert(path, Path(temporary) / f"{number}.safetensors", seen)
            found.append(network)
            files[network.stage].append(converted)
        if not files["segmentation"]:
            raise UserError(
                f"{folder} holds no segmentation network of the published solution, and without masks nothing can be "
                "predicted: put its checkpoint there"
            )
        notes = _notes(found, seen)
        contents = _contents(seen["classification"], bool(files["classification"]), our_defaults, notes)
        write_bundle(out / DESCRIPTION, files["segmentation"], files["classification"], contents)
    return Imported(tuple(found), tuple(skipped), tuple(notes))


class _Seen:
    """Which studies the networks of a stage learnt from."""

    def __init__(self, table: Path | None, folds: Mapping[str, int]) -> None:
        self.table = None if table is None else read_solution_folds(table)
        self._folds = folds

    @property
    def has_targets(self) -> bool:
        """Whether the table says which studies are fractured."""
        return self.table is not None and set(TARGETS) <= set(self.table.columns)

    def provenance(self, checkpoint: str) -> dict[str, Any]:
        """Return fold and training studies of a checkpoint, as far as they are known."""
        fold = self._folds.get(checkpoint)
        if self.table is None:
            return {"fold": fold}
        if fold is not None and fold not in set(self.table["fold"]):
            raise UserError(f"--fold {checkpoint}={fold}: the fold table has no fold {fold}; correct the number")
        learnt_from = self.table.index[self.table["fold"] != fold] if fold is not None else self.table.index
        return {"fold": fold, TRAINING_STUDIES: study_tokens(learnt_from)}


def _require_own_folder(out: Path) -> None:
    foreign = [path.name for path in out.iterdir() if not _is_of_bundle(path)] if out.is_dir() else []
    if foreign or (out.exists() and not out.is_dir()):
        raise UserError(f"{out} is not an empty folder or a bundle: choose a new folder for the bundle")


def _is_of_bundle(path: Path) -> bool:
    return path.name in (DESCRIPTION, CARD) or path.suffix == ".safetensors" or path.name.startswith(_TEMPORARY)


def _checkpoints(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the checkpoints of ``folder`` by name, each content once, and the names of the other files."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the folder that holds the published checkpoints")
    paths: dict[str, Path] = {}
    skipped = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as stream:
            start = stream.read(4)
        digest = digest_file(path) if start.startswith((_ZIP, _PICKLE)) else ""
        if not digest or digest in paths:
            skipped.append(path.name)
        else:
            paths[digest] = path
    if not paths:
        raise UserError(f"{folder} holds no checkpoint that torch wrote: give the folder of the published checkpoints")
    return list(paths.values()), skipped


def _require_known(folds: Mapping[str, int], paths: Sequence[Path]) -> None:
    unknown = sorted(folds.keys() - {path.name for path in paths})
    if unknown:
        raise UserError(f"--fold names {unknown[0]}, which is not a checkpoint of the folder: correct the name")


def _convert(path: Path, out: Path, seen: Mapping[Stage, _Seen]) -> tuple[ImportedNetwork, Path]:
    model = read_solution_checkpoint(path)
    stage: Stage = "segmentation" if model.kind in kinds_of("segmentation") else "classification"
    provenance = {"checkpoint": digest_file(path), **seen[stage].provenance(path.name)}
    title = "segmentation network"
    if stage == "classification":
        provenance["variant"] = model.settings.mode
        title = f"classifier {model.settings.mode}-{model.settings.depth}"
    save_model(out, model, provenance)
    return ImportedNetwork(path.name, stage, title), out


def _notes(found: Sequence[ImportedNetwork], seen: Mapping[Stage, _Seen]) -> list[str]:
    """Say what the bundle does not know of its networks."""
    stages = {network.stage for network in found}
    unknown = [stage for stage in seen if stage in stages and seen[stage].table is None]
    notes = [
        f"nobody says which studies the networks for {stage} learnt from: out-of-fold use is unknown"
        for stage in unknown
    ]
    if "classification" in stages and not seen["classification"].has_targets:
        notes.append("the prior is that of the published fold table, which was not given")
    return notes


def _contents(seen: _Seen, classifies: bool, our_defaults: bool, notes: Sequence[str]) -> BundleContents:
    prior = None
    if classifies:
        prior = PUBLISHED_PRIOR if seen.table is None or not seen.has_targets else prior_of(seen.table[list(TARGETS)])
    settings = OUR_SETTINGS if our_defaults else AUTHORS_SETTINGS
    origin = {"origin": "published solution", "defaults": "ours" if our_defaults else "author", "notes": list(notes)}
    return BundleContents(settings, prior, phantom=False, provenance=origin)
