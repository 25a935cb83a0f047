"""Training of one classifier: a variant and a fold."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spine_models.compute.devices import Compute
from spine_models.data.crops.crop import CropSettings
from spine_models.data.samples.classification import ClassificationSamples
from spine_models.models.batch_norm import adjust_momentum
from spine_models.models.networks import build
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.shelf import Shelf
from spine_models.training.batching import BatchPlan
from spine_models.training.classification_module import ClassificationModule, ClassifierVerdict
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.epoch_table import write_table
from spine_models.training.held_out_crops import FoldData, HeldOutStudies, read_fold
from spine_models.training.initial_weights import InitialNetworks, InitialWeights, choose_initial, load_initial
from spine_models.training.job import Job, run_job
from spine_models.training.kept_epoch import KeptEpoch


@dataclass(frozen=True)
class ClassificationInputs:
    """The files that the training reads.

    Attributes:
        folds: ``folds/classification.csv``.
        train_csv: labels of the data set.
        crops: manifests of the crops of all shards.
        pretrained: published weights of the network; None trains from scratch.
        initial: networks of a bundle to start from in their place.
    """

    folds: Path
    train_csv: Path
    crops: Sequence[Path]
    pretrained: Path | None
    initial: Sequence[Path] = ()


@dataclass(frozen=True)
class ClassificationTask:
    """The training of one variant on one fold (``fit.Task``)."""

    inputs: ClassificationInputs
    fold: int
    recipe: ClassificationRecipe
    crops: CropSettings
    initial_sha256: Sequence[str] = ()
    stage: str = "classification"

    @cached_property
    def data(self) -> FoldData:
        """Who trains and who validates, and the labels; the tables are read once."""
        return read_fold(self.inputs.folds, self.inputs.train_csv, Shelf(self.inputs.crops), self.fold)

    def digests(self) -> dict[str, str]:
        """See ``fit.Task``."""
        crops, data = Shelf(self.inputs.crops), self.data
        studies = (*data.split.training, *data.split.validation)
        initial = self.initial()
        return {
            "split": digest_json([data.split.training, data.split.validation]),
            "labels": digest_json({study: list(data.labels[study]) for study in studies}),
            "crops": digest_json({study: crops.digest(study) for study in studies}),
            "pretrained": digest_file(self.inputs.pretrained) if self.inputs.pretrained else "none",
            "initial": initial.sha256 if initial else "none",
        }

    def initial(self) -> InitialWeights | None:
        """See ``fit.Task``."""
        networks = InitialNetworks(self.inputs.initial, self.initial_sha256)
        return choose_initial(networks, self.recipe.network, self.data.split, self.stage)

    def training_studies(self) -> tuple[str, ...]:
        """See ``fit.Task``."""
        return self.data.split.subjects

    def further(self) -> dict[str, Any]:
        """See ``fit.Task``."""
        return {"crops": asdict(self.crops)}

    def samples(self, seed: int) -> ClassificationSamples:
        """See ``fit.Task``."""
        data = self.data
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
        data = self.data
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
        module.prior = list(self.data.prior)
        if self.inputs.pretrained is not None:
            module.pretrained = network.load_published(self.inputs.pretrained)
        initial = self.initial()
        if initial is not None:
            load_initial(network, initial)
        return module

    @property
    def verdict(self) -> type[ClassifierVerdict]:
        """See ``fit.Task``."""
        return ClassifierVerdict

    def collect(self, folder: Path, best: list[KeptEpoch], result: Path) -> None:
        """Publish the best epochs' weights and their table."""
        epochs = result / "epochs"
        epochs.mkdir()
        rows = [epoch.row for epoch in best]
        for epoch in rows:
            shutil.copyfile(folder / "epochs" / epoch.file, epochs / epoch.file)
        write_table(epochs, rows)


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
