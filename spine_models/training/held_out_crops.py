"""The studies that a fold of the classification holds out: their crops, labels and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import default_collate

from spine_models.compute.crop_predictor import CropPredictor
from spine_models.data.crops.crop import ClassifierCrop, CropSettings, validation_windows
from spine_models.data.crops.files import open_crop
from spine_models.evaluation.competition import prior_probabilities
from spine_models.evaluation.truth import read_truth
from spine_models.provenance.shelf import Shelf
from spine_models.training.folds import Split, read_split

Labels = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class FoldData:
    """What a fold's training and validation are about.

    Attributes:
        split: studies.
        labels: of each study, 0 or 1 for each of ``levels.TARGETS``.
        prior: (8,), prediction of a study without a usable vertebra.
    """

    split: Split
    labels: Labels
    prior: tuple[float, ...]


def read_fold(folds: Path, train_csv: Path, crops: Shelf, fold: int) -> FoldData:
    """Read who trains and who validates, and the labels of all of them.

    Raises:
        UserError: if a table cannot be used.
    """
    truth = read_truth(train_csv)
    split = read_split(folds, fold, set(crops.studies) & set(truth.index))
    labels = {study: tuple(int(value) for value in truth.loc[study]) for study in truth.index}
    known = {study: labels[study] for study in (*split.training, *split.validation)}
    prior = prior_probabilities([known[study] for study in split.training])
    return FoldData(split, known, tuple(float(value) for value in prior))


class HeldOutStudy(NamedTuple):
    """One study of the validation.

    Attributes:
        study: its id.
        crops: all windows of its usable levels, each field stacked to a tensor of (K, ...); None where there is none.
        target: (8,), the labels as given.
    """

    study: str
    crops: Any
    target: torch.Tensor


class HeldOutStudies:
    """The held-out studies of a fold: all their validation windows and labels."""

    def __init__(self, crops: Shelf, settings: CropSettings, studies: Sequence[str], labels: Labels) -> None:
        """Read from ``crops``."""
        self._crops, self._settings, self._studies, self._labels = crops, settings, studies, labels

    def __len__(self) -> int:
        """Return the number of studies."""
        return len(self._studies)

    def __getitem__(self, index: int) -> HeldOutStudy:
        """Return one study."""
        study = self._studies[index]
        crop = open_crop(self._crops, study)
        windows = [] if crop is None else [window for _, window in validation_windows(crop, self._settings)]
        # Stacked, since each tensor that a worker sends takes a file of the shared memory.
        return HeldOutStudy(study, default_collate(windows) if windows else None, torch.tensor(self._labels[study]))


def probabilities_or_prior(predictor: CropPredictor, item: HeldOutStudy, prior: Sequence[float]) -> list[float]:
    """Return the probabilities of a held-out study, (8,); ``prior`` where it has no crop.

    Raises:
        NonFiniteOutputError: if the network's output is not finite.
    """
    crops = () if item.crops is None else map(ClassifierCrop._make, zip(*item.crops, strict=True))
    probabilities = predictor.study(crops)
    return [float(value) for value in (prior if probabilities is None else probabilities)]
