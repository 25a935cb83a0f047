"""Which segmentation networks may predict the mask of a study: those that did not learn from its labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spine_models.data.dataset.study_tokens import learnt_from, says_all, study_token
from spine_models.errors import UserError
from spine_models.evaluation.tables import STUDY, read_csv
from spine_models.inference.bundle import load_bundle
from spine_models.inference.bundle_description import is_bundle
from spine_models.log import say
from spine_models.models.weights import load_state
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.packed import AnyFile
from spine_models.provenance.vouched import vouched

_FOLD_FOLDER = re.compile(r"fold(\d+)")


@dataclass(frozen=True)
class MaskNetwork:
    """A segmentation network and what it learnt from.

    Attributes:
        name: unique among the networks of a job.
        path: the weights.
        sha256: of the weights.
        fold: whose studies were held out of its training; None if nobody says.
        trained_on: tokens of the studies and patients that its weights say it learnt from; empty if they do not say.
    """

    name: str
    path: AnyFile
    sha256: str
    fold: int | None
    trained_on: frozenset[str]

    def has_seen(self, study: str, group: str = "") -> bool:
        """Say whether the weights name ``study``, or its patient's ``group``, among those that they learnt from."""
        return bool(self.trained_on & {study_token(name) for name in (study, group) if name})


@dataclass(frozen=True)
class FoldTable:
    """``folds/segmentation.csv``.

    Attributes:
        studies: segmented study to the fold that holds it out.
        groups: patient of a segmented study to that fold.
    """

    studies: dict[str, int]
    groups: dict[str, int]


def read_fold_table(path: Path) -> FoldTable:
    """Read ``folds/segmentation.csv``.

    Raises:
        UserError: if it is missing or lacks a column.
    """
    rows = read_csv(vouched(path), (STUDY, "group", "fold"), "the rule make_folds")
    folds = [int(fold) for fold in rows["fold"]]
    groups = {group: fold for group, fold in zip(rows["group"], folds, strict=True) if isinstance(group, str)}
    return FoldTable(dict(zip(rows[STUDY], folds, strict=True)), groups)


def fold_networks(paths: Iterable[Path]) -> list[MaskNetwork]:
    """Describe the networks of ``segmentation/fold<F>/model.safetensors``.

    Raises:
        UserError: if a file is damaged, is in no folder ``fold<F>``, or was trained for another fold than that.
    """
    networks = []
    for path in paths:
        match = _FOLD_FOLDER.fullmatch(path.parent.name)
        if match is None:
            raise UserError(f"{path} is in no folder fold<number>: give the files that train_segmentation wrote")
        fold = int(match[1])
        networks.append(_described(f"fold{fold}", vouched(path), digest_file(path), fold))
    return sorted(networks, key=lambda network: network.name)


def bundle_networks(folder: Path) -> list[MaskNetwork]:
    """Describe the segmentation networks of a bundle, which is checked first.

    Raises:
        UserError: if the bundle is damaged or incomplete.
    """
    bundle = load_bundle(folder)
    return [_described(entry.name, bundle.place.network(entry), entry.sha256, None) for entry in bundle.segmentation]


def networks_and_folds(models: Sequence[Path], folds: Path) -> tuple[list[MaskNetwork], FoldTable | None]:
    """Describe the networks of ``models``, and read who is held out of which.

    Args:
        models: weights of the folds, or a bundle (see ``is_bundle``), whose networks come without a table.
        folds: ``folds/segmentation.csv``.

    Raises:
        UserError: if a file is missing or damaged.
    """
    if is_bundle(models[0]):
        return bundle_networks(models[0]), None
    return fold_networks(models), read_fold_table(folds)


def networks_for(study: str, group: str, networks: Sequence[MaskNetwork], folds: FoldTable | None) -> list[MaskNetwork]:
    """Choose the networks that predict the mask of ``study``.

    A study whose labels trained the segmentation, or whose patient has such a study, gets the network of the fold
    that holds it out; every other study gets all of them. The networks of a bundle come without a table: those
    that learnt from the study or its patient by their own account are left out.

    Args:
        study: StudyInstanceUID.
        group: of its patient; "" if nobody knows.
        networks: all there are.
        folds: of the segmented studies, None for a bundle.

    Raises:
        UserError: if no network is left, or a chosen one says that it learnt from the study.
    """
    if folds is None:
        chosen = [network for network in networks if not network.has_seen(study, group)]
    else:
        fold = folds.studies.get(study, folds.groups.get(group))
        chosen = [network for network in networks if fold is None or network.fold == fold]
    if not chosen:
        raise UserError(
            f"no segmentation network given has held study {study} and its patient out: add the one of its fold, or "
            "use another bundle"
        )
    for network in chosen:
        if network.has_seen(study, group):
            raise UserError(
                f"{network.path} learnt from study {study} or its patient, which folds/segmentation.csv holds out of "
                "it: train the segmentation again"
            )
    return chosen


def _described(name: str, path: AnyFile, sha256: str, fold: int | None) -> MaskNetwork:
    provenance = load_state(path)[1]["provenance"]
    said = provenance.get("fold")
    if None not in (said, fold) and said != fold:
        raise UserError(f"{path} holds the network of fold {said}, not of fold {fold}: train the segmentation again")
    if fold is None and not says_all(provenance):
        say(f"{path} does not name every study that it learnt from: masks of those studies are not out-of-fold")
    return MaskNetwork(name, path, sha256, fold, learnt_from(provenance))
