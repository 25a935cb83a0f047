"""Trainings on the tiny data set, as their rules describe them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import tiny_data
from spine_models.data.crops.crop import CropSettings
from spine_models.provenance.settings import settings_from
from spine_models.training.classification import ClassificationInputs, ClassificationTask
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.job import Job
from spine_models.training.segmentation import SegmentationInputs, SegmentationTask
from spine_models.training.segmentation_recipe import SegmentationRecipe


def segmentation_task(data: Path, fold: int = 0, **changes: Any) -> SegmentationTask:
    inputs = SegmentationInputs(
        data / "folds" / "segmentation.csv", [data / "volumes_half" / "0.json"], [data / "labels_half" / "0.json"], None
    )
    return SegmentationTask(inputs, fold, settings_from(SegmentationRecipe, {**tiny_data.SEGMENTATION, **changes}))


def classification_task(data: Path, mode: str = "ip", **changes: Any) -> ClassificationTask:
    inputs = ClassificationInputs(
        data / "folds" / "classification.csv", data / "train.csv", [data / "crops" / "0.json"], None
    )
    network = {**tiny_data.CLASSIFICATION["network"], "mode": mode}
    recipe = settings_from(ClassificationRecipe, {**tiny_data.CLASSIFICATION, "network": network, **changes})
    return ClassificationTask(inputs, 0, recipe, CropSettings(**tiny_data.CROPS))


def make_job(folder: Path, **changes: Any) -> Job:
    job = Job("train", {"fold": 0}, 1, 0, 15.0, 2, "code", folder / "state", folder / "out")
    return replace(job, **changes)
