"""Training of the segmentation network of one fold."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spine_models.compute.devices import Compute
from spine_models.data.samples.segmentation import SegmentationSamples
from spine_models.data.volume_facts import VolumeFacts
from spine_models.evaluation.segmentation_figures import PublishedFigures, SegmentationFigures
from spine_models.models.batch_norm import adjust_momentum
from spine_models.models.networks import build
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.files import write_json
from spine_models.provenance.shelf import Shelf
from spine_models.training.batching import BatchPlan
from spine_models.training.folds import Split, read_split
from spine_models.training.initial_weights import InitialNetworks, InitialWeights, choose_initial, load_initial
from spine_models.training.job import Job, run_job
from spine_models.training.kept_epoch import KeptEpoch
from spine_models.training.segmentation_module import HeldOutVolume, SegmentationModule
from spine_models.training.segmentation_recipe import SegmentationRecipe


@dataclass(frozen=True)
class SegmentationInputs:
    """The files that the training reads.

    Attributes:
        folds: ``folds/segmentation.csv``.
        half: manifests of the half volumes of all shards.
        labels: manifests of the labels of all shards.
        pretrained: published weights of the network; None trains from scratch.
        initial: networks of a bundle to start from in their place.
    """

    folds: Path
    half: Sequence[Path]
    labels: Sequence[Path]
    pretrained: Path | None
    initial: Sequence[Path] = ()


@dataclass(frozen=True)
class SegmentationTask:
    """The training of one fold (``fit.Task``)."""

    inputs: SegmentationInputs
    fold: int
    recipe: SegmentationRecipe
    initial_sha256: Sequence[str] = ()
    stage: str = "segmentation"

    def split(self) -> Split:
        """Return who trains and who validates, among the studies with a volume and a label."""
        available = set(Shelf(self.inputs.half).studies) & set(Shelf(self.inputs.labels).studies)
        return read_split(self.inputs.folds, self.fold, available)

    def digests(self) -> dict[str, str]:
        """See ``fit.Task``."""
        half, labels, split = Shelf(self.inputs.half), Shelf(self.inputs.labels), self.split()
        studies = (*split.training, *split.validation)
        initial = self.initial()
        return {
            "split": digest_json([split.training, split.validation]),
            "half": digest_json({study: half.digest(study) for study in studies}),
            "labels": digest_json({study: labels.digest(study) for study in studies}),
            "pretrained": digest_file(self.inputs.pretrained) if self.inputs.pretrained else "none",
            "initial": initial.sha256 if initial else "none",
        }

    def initial(self) -> InitialWeights | None:
        """See ``fit.Task``."""
        networks = InitialNetworks(self.inputs.initial, self.initial_sha256)
        return choose_initial(networks, self.recipe.network, self.split(), self.stage)

    def training_studies(self) -> tuple[str, ...]:
        """See ``fit.Task``."""
        return self.split().subjects

    def further(self) -> dict[str, Any]:
        """See ``fit.Task``."""
        return {}

    def samples(self, seed: int) -> SegmentationSamples:
        """See ``fit.Task``."""
        return SegmentationSamples(
            Shelf(self.inputs.half),
            Shelf(self.inputs.labels),
            self.split().training,
            window=self.recipe.window,
            draws_per_study=self.recipe.draws_per_study,
            augmentation=self.recipe.augmentation,
            seed=seed,
        )

    def held_out(self) -> HeldOutVolumes:
        """See ``fit.Task``."""
        return HeldOutVolumes(Shelf(self.inputs.half), Shelf(self.inputs.labels), self.split().validation)

    def module(self, plan: BatchPlan, steps: int) -> SegmentationModule:
        """See ``fit.Task``."""
        network = build(
            self.recipe.network,
            freeze_bn=self.recipe.freeze_bn,
            activation_checkpointing=self.recipe.activation_checkpointing,
        )
        adjust_momentum(network, plan.accumulation)
        module = SegmentationModule(network, self.recipe, plan, steps)
        if self.inputs.pretrained is not None:
            module.pretrained = network.load_published(self.inputs.pretrained)
        initial = self.initial()
        if initial is not None:
            load_initial(network, initial)
        return module

    @property
    def verdict(self) -> type[SegmentationFigures]:
        """See ``fit.Task``."""
        return SegmentationFigures

    def collect(self, folder: Path, best: list[KeptEpoch], result: Path) -> None:
        """Publish the best epoch and the figures of its validation."""
        epoch, verdict = best[0].row, best[0].verdict
        assert isinstance(verdict, SegmentationFigures)
        shutil.copyfile(folder / "epochs" / epoch.file, result / "model.safetensors")
        write_json(result / "metrics.json", PublishedFigures(**vars(verdict), epoch=epoch.epoch).to_json())


class HeldOutVolumes:
    """The held-out volumes of a fold with their labels."""

    def __init__(self, half: Shelf, labels: Shelf, studies: Sequence[str]) -> None:
        """Read ``studies`` from the stages ``volumes_half`` and ``labels_half``."""
        self._half, self._labels, self._studies = half, labels, studies

    def __len__(self) -> int:
        """Return the number of studies."""
        return len(self._studies)

    def __getitem__(self, index: int) -> HeldOutVolume:
        """Return one study."""
        study = self._studies[index]
        facts = self._half.facts(study, VolumeFacts)
        half, label = np.array(self._half.array(study)), np.array(self._labels.array(study))
        return HeldOutVolume(study, torch.from_numpy(half), torch.from_numpy(label), facts.mean, facts.std)


def train_segmentation(task: SegmentationTask, job: Job, compute: Compute) -> None:
    """Train one fold and publish ``model.safetensors`` (the best epoch), ``history.csv`` and ``metrics.json``.

    Args:
        task: files, fold, recipe.
        job: seed, state, output folder.
        compute: from ``devices.use_device``.

    Raises:
        UserError: if the data or the configuration cannot be used, or another process trains in this state.
    """
    run_job(job, task, compute)
