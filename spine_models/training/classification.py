"""Training of one classifier: a variant and a fold."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spine_models.compute.devices import Compute
from spine_models.data.crops.crop import CropSettings, validation_windows
from spine_models.data.crops.files import open_crop
from spine_models.data.samples.classification import ClassificationSamples
from spine_models.evaluation.competition import prior_probabilities
from spine_models.evaluation.truth import read_truth
from spine_models.models.batch_norm import adjust_momentum
from spine_models.models.networks import build
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.shelf import Shelf
from spine_models.training.batching import BatchPlan
from spine_models.training.best_epochs import Epoch, write_table
from spine_models.training.classification_module import ClassificationModule, HeldOutStudy
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.folds import Split, read_split
from spine_models.training.job import Job, run_job

Labels = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class ClassificationInputs:
    """The files that the training reads.

    Attributes:
        folds: ``folds/classification.csv``.
        train_csv: labels of the data set.
        crops: manifests of the crops of all shards.
        pretrained: published weights of the network; None trains from scratch.
    """

    folds: Path
    train_csv: Path
    crops: Sequence[Path]
    pretrained: Path | None


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
        images = [] if crop is None else [image for _, image in validation_windows(crop, self._settings)]
        crops = torch.from_numpy(np.stack(images)) if images else torch.zeros(0)
        return HeldOutStudy(study, crops, torch.tensor(self._labels[study]))


@dataclass(frozen=True)
class ClassificationTask:
    """The training of one variant on one fold (``fit.Task``)."""

    inputs: ClassificationInputs
    fold: int
    recipe: ClassificationRecipe
    crops: CropSettings
    stage: str = "classification"

    def data(self) -> FoldData:
        """Return who trains and who validates, and the labels."""
        return read_fold(self.inputs.folds, self.inputs.train_csv, Shelf(self.inputs.crops), self.fold)

    def digests(self) -> dict[str, str]:
        """See ``fit.Task``."""
        crops, data = Shelf(self.inputs.crops), self.data()
        studies = (*data.split.training, *data.split.validation)
        return {
            "split": digest_json([data.split.training, data.split.validation]),
            "labels": digest_json({study: list(data.labels[study]) for study in studies}),
            "crops": digest_json({study: crops.digest(study) for study in studies}),
            "pretrained": digest_file(self.inputs.pretrained) if self.inputs.pretrained else "none",
        }

    def training_studies(self) -> tuple[str, ...]:
        """See ``fit.Task``."""
        return self.data().split.subjects

    def further(self) -> dict[str, Any]:
        """See ``fit.Task``."""
        return {"crops": asdict(self.crops)}

    def samples(self, seed: int) -> ClassificationSamples:
        """See ``fit.Task``."""
        data = self.data()
        return ClassificationSamples(
            Shelf(self.inputs.crops),
            data.split.training,
            data.labels,
            settings=self.crops,
            augmentation=self.recipe.augmentation,
            draws_per_study=self.recipe.draws_per_study,
            fractured_probability=self.recipe.fractured_probability,
            seed=seed,
        )

    def held_out(self) -> HeldOutStudies:
        """See ``fit.Task``."""
        data = self.data()
        return HeldOutStudies(Shelf(self.inputs.crops), self.crops, data.split.validation, data.labels)

    def module(self, plan: BatchPlan, steps: int) -> ClassificationModule:
        """See ``fit.Task``."""
        network = build(
            self.recipe.network,
            freeze_bn=self.recipe.freeze_bn,
            activation_checkpointing=self.recipe.activation_checkpointing,
        )
        adjust_momentum(network, plan.accumulation)
        module = ClassificationModule(network, self.recipe, plan, steps)
        module.prior = list(self.data().prior)
        if self.inputs.pretrained is not None:
            module.pretrained = network.load_published(self.inputs.pretrained)
        return module

    def collect(self, folder: Path, best: list[Epoch], result: Path) -> None:
        """Publish the best epochs' weights and their table."""
        epochs = result / "epochs"
        epochs.mkdir()
        for epoch in best:
            shutil.copyfile(folder / "epochs" / epoch.file, epochs / epoch.file)
        write_table(epochs, best)


def train_classifier(task: ClassificationTask, job: Job, compute: Compute) -> None:
    """Train one classifier and publish ``epochs/`` (best weights and ``epochs.json``) and ``history.csv``.

    Args:
        task: files, fold, recipe.
        job: seed, state, output folder.
        compute: from ``devices.use_device``.

    Raises:
        UserError: if the data or the configuration cannot be used, or another process trains in this state.
    """
    run_job(job, task, compute)
