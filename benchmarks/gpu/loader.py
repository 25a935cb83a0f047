"""How many samples a second the loader brings to the device, by workers, at the size of the full recipe."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.bench import Bench
from spine_models.commands.training_needs import read_configuration
from spine_models.compute.devices import use_device
from spine_models.compute.network_input import classifier_input
from spine_models.configuration.trainings import classifier_recipe
from spine_models.data.crops.crop import CropSettings
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.files import write_text
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import Key, write_array, write_record
from spine_models.provenance.settings import settings_from
from spine_models.training.batching import BatchPlan
from spine_models.training.classification import ClassificationInputs, ClassificationTask
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.loaders import EpochBatches, training_loader

STUDIES = 8
BATCH = 4


def measure(bench: Bench) -> None:
    use_device(bench.kind, int(bench.real), len(os.sched_getaffinity(0)))
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    root = Path(tempfile.mkdtemp(prefix="spine_models-gpu-"))
    try:
        _write(root, (200, 320, 320) if bench.real else (48, 64, 64))
        config = read_configuration([])
        settings = classifier_recipe(config, "ir") | {"draws_per_study": 1000}
        recipe = settings_from(ClassificationRecipe, settings)
        inputs = ClassificationInputs(root / "folds.csv", root / "train.csv", [root / "crops" / "0.json"], None)
        task = ClassificationTask(inputs, 0, recipe, CropSettings(**config["crops"]))
        samples = task.samples(0)
        for workers in (1, 4, 8, 16) if bench.real else (1,):
            _rate(bench, samples, workers)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _rate(bench: Bench, samples: Any, workers: int) -> None:
    """Leave out each worker's first batch, since all of those arrive at once, and time the two that follow."""
    with bench.case(f"crops, {workers} workers") as facts:
        batches = EpochBatches(len(samples), BatchPlan(BATCH, 1, 1), 0, 0)
        loaded = iter(training_loader(samples, batches, workers, pin=bench.real))
        for _ in range(workers):
            next(loaded)
        started = time.monotonic()
        count = 0
        while count < 2 * workers and time.monotonic() - started < 5.0:
            crops, target, _ = next(loaded)
            classifier_input(*(part.to(bench.device, non_blocking=True) for part in crops))
            count += 1
        bench.clean()
        facts["crops_per_s"] = count * BATCH / (time.monotonic() - started)
        facts["batch_mb"] = sum(part.nbytes for part in (*crops, target)) / 1e6
        facts["shm_free_gb"] = shutil.disk_usage("/dev/shm").free / 1e9
        del loaded


def _write(root: Path, shape: tuple[int, int, int]) -> None:
    """Write crops of noise with seven levels one above the other, labels and folds."""
    random = np.random.default_rng(0)
    rows, folds, studies = [",".join(("StudyInstanceUID", *TARGETS))], ["StudyInstanceUID,group,fold"], {}
    slab = shape[0] // len(LEVELS)
    mask = np.zeros([shape[0], *(side // 2 for side in shape[1:])], np.uint8)
    for value in range(len(LEVELS)):
        mask[value * slab : (value + 1) * slab, 20:-20, 20:-20] = value + 1
    half = shape[1] // 2, shape[2] // 2
    boxes = {
        level: [value * slab, (value + 1) * slab, half[0] // 3, 2 * half[0] // 3, half[1] // 3, 2 * half[1] // 3]
        for value, level in enumerate(LEVELS)
    }
    for number in range(STUDIES + 2):
        study = f"1.2.{number}"
        volume = random.integers(-1000, 2000, shape, dtype=np.int16)
        facts = {
            "origin": [0, 0, 0],
            "mask_origin": [0, 0, 0],
            "half_factor": 0.5,
            "mean": 0.0,
            "std": 500.0,
            "boxes": boxes,
            "voxels": dict.fromkeys(LEVELS, 100000),
            "levels": dict.fromkeys(LEVELS, "visible"),
            "spacing_mm": [1.0, 1.0, 1.0],
            "depth_total": shape[0],
        }
        folder = root / "crops" / "0"
        files = {
            f"{study}{end}.npy": write_array(folder / f"{study}{end}.npy", array)
            for end, array in (("", volume), ("_mask", mask))
        }
        studies[study] = write_record(folder / f"{study}.json", Key("make_crops", {}, {}, "code"), files, facts).digest
        rows.append(",".join([study, *[str(number % 2)] * len(TARGETS)]))
        folds.append(f"{study},group-{study},{int(number < 2) ^ 1}")
    write_manifest(root / "crops" / "0.json", studies, {})
    write_text(root / "train.csv", "\n".join(rows) + "\n")
    write_text(root / "folds.csv", "\n".join(folds) + "\n")
