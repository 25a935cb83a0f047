"""Trainings on the tiny data set, as their rules describe them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tiny_data
from spine_models.configuration.trainings import classifier_recipe, segmentation_recipe
from spine_models.data.crops.crop import CropSettings
from spine_models.provenance.settings import settings_from
from spine_models.training.batching import BatchPlan
from spine_models.training.classification import ClassificationInputs, ClassificationTask
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.job import Job
from spine_models.training.loaders import EpochBatches
from spine_models.training.segmentation import SegmentationInputs, SegmentationTask
from spine_models.training.segmentation_recipe import SegmentationRecipe


def segmentation_task(data: Path, fold: int = 0, **changes: Any) -> SegmentationTask:
    inputs = SegmentationInputs(
        data / "folds" / "segmentation.csv", [data / "volumes_half" / "0.json"], [data / "labels_half" / "0.json"], None
    )
    recipe = segmentation_recipe(tiny_data.configuration())
    return SegmentationTask(inputs, fold, settings_from(SegmentationRecipe, {**recipe, **changes}))


def classification_task(data: Path, mode: str = "ip", **changes: Any) -> ClassificationTask:
    inputs = ClassificationInputs(
        data / "folds" / "classification.csv", data / "train.csv", [data / "crops" / "0.json"], None
    )
    config = tiny_data.configuration()
    recipe = classifier_recipe(config, "ip")
    network = {**recipe["network"], "mode": mode}
    settings = settings_from(ClassificationRecipe, {**recipe, "network": network, **changes})
    return ClassificationTask(inputs, 0, settings, settings_from(CropSettings, config["crops"]))


def make_job(folder: Path, **changes: Any) -> Job:
    job = Job("train", {"fold": 0}, 1, 0, 15.0, 2, "code", folder / "state", folder / "out")
    return replace(job, **changes)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_when(owner: Any, name: str, count: int, after: bool = False) -> Callable[[], None]:
    """Return what makes the ``count``-th call of ``owner.name`` the last thing that a process does."""

    def prepare() -> None:
        calls, original = [0], getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] == count and not after:
                die()
            result = original(*arguments, **named)
            if calls[0] == count:
                die()
            return result

        setattr(owner, name, wrapped)

    return prepare


class Poisoned:
    """Samples of which the draws in some global steps are infinite once they are standardised."""

    def __init__(self, samples: Any, draws: set[tuple[int, int]]) -> None:
        self._samples, self._draws = samples, draws

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, epoch: int, index: int) -> Any:
        crop, target, study = self._samples.sample(epoch, index)
        if (epoch, index) in self._draws:
            crop = crop._replace(mean=np.float32("inf"))
        return crop, target, study


@dataclass(frozen=True)
class PoisonedTask(ClassificationTask):
    """The first sample of each of ``steps`` (counted from 0 through all epochs) is infinite."""

    steps: tuple[int, ...] = ()

    def samples(self, seed: int) -> Any:
        samples = super().samples(seed)
        batches = EpochBatches(len(samples), BatchPlan(self.recipe.global_batch, 1, 1), 0, seed)
        draws = {
            (step // batches.steps, int(batches.order(step // batches.steps)[step % batches.steps][0]))
            for step in self.steps
        }
        return Poisoned(samples, draws)
