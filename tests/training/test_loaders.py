from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.commands.training_needs import read_configuration
from spine_models.configuration.trainings import classifier_recipe, segmentation_recipe
from spine_models.data.crops.crop import CropSettings
from spine_models.data.samples.classification import ClassificationSamples
from spine_models.data.samples.segmentation import SegmentationSamples
from spine_models.errors import UserError
from spine_models.provenance.settings import settings_from
from spine_models.provenance.shelf import Shelf
from spine_models.training import loaders
from spine_models.training.batching import plan_batches
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.held_out_crops import HeldOutStudies
from spine_models.training.loaders import (
    EpochBatches,
    require_shared_memory,
    shared_memory,
    training_loader,
    validation_loader,
    worker_advice,
)
from spine_models.training.segmentation_recipe import SegmentationRecipe
from tests.data.sample_files import crop_shelf, spine_mask, write_stage


class Echo:
    """Samples that say which draw they are."""

    def __len__(self):
        return 23

    def sample(self, epoch, index):
        return (np.array([epoch, index], np.int16),), np.zeros(1, np.float32), f"study-{index}"


def keys(processes, rank, *, epoch=0, start=0, seed=7):
    batches = EpochBatches(23, plan_batches("segmentation", 8, 2, processes), rank, seed)
    batches.start_at(epoch, start)
    return list(batches)


def test_every_draw_comes_at_most_once_and_whole_global_batches_alone():
    flat = [key for rank in range(2) for batch in keys(2, rank) for key in batch]
    assert len(flat) == 16 and len(set(flat)) == 16


def test_a_step_sees_the_same_samples_on_any_number_of_processes():
    alone = keys(1, 0)
    for processes in (2, 4):
        parts = [keys(processes, rank) for rank in range(processes)]
        together = list(itertools.chain.from_iterable(zip(*parts, strict=True)))
        assert together == alone


def test_the_order_follows_from_seed_and_epoch():
    assert keys(1, 0) == keys(1, 0)
    assert [k[1] for b in keys(1, 0) for k in b] != [k[1] for b in keys(1, 0, epoch=1) for k in b]
    assert keys(1, 0) != keys(1, 0, seed=8)


def test_it_starts_in_the_middle_of_an_epoch_and_then_at_the_start_of_the_next():
    batches = EpochBatches(23, plan_batches("segmentation", 8, 2, 1), 0, 7)
    batches.start_at(3, 1)
    batches.set_epoch(3)
    assert list(batches) == keys(1, 0, epoch=3)[4:]
    batches.set_epoch(4)
    assert list(batches) == keys(1, 0, epoch=4)
    assert len(batches) == 8


def test_fewer_draws_than_a_global_batch_are_refused():
    with pytest.raises(UserError, match="draws_per_study"):
        EpochBatches(7, plan_batches("segmentation", 8, 2, 1), 0, 7)


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_arrive_in_order_with_and_without_workers(workers):
    batches = EpochBatches(23, plan_batches("segmentation", 8, 2, 1), 0, 7)
    batches.start_at(2, 1)
    loader = training_loader(Echo(), batches, workers, pin=False)
    for epoch in (2, 3):
        batches.set_epoch(epoch)
        got = [[tuple(int(v) for v in row) for row in images] for (images,), _, _ in loader]
        assert got == keys(1, 0, epoch=epoch)[4 if epoch == 2 else 0 :]


@pytest.mark.parametrize(("studies", "processes"), [(5, 2), (1, 2), (6, 4)])
def test_every_held_out_study_is_in_exactly_one_process(studies, processes):
    names = [f"study-{number}" for number in range(studies)]
    shares = [list(validation_loader(names, rank, processes, 0)) for rank in range(processes)]
    assert sorted(itertools.chain.from_iterable(shares)) == names


def test_masks_without_any_vertebra_are_named_as_the_cause():
    with pytest.raises(UserError, match="masks show no vertebra"):
        EpochBatches(0, plan_batches("classification", 8, 2, 1), 0, 7)


class Threads:
    """Tells how many threads OpenCV has where a sample is made."""

    def __len__(self):
        return 4

    def sample(self, epoch, index):
        import cv2

        return (np.array([cv2.getNumThreads()]),), np.array([0]), "study"


def test_opencv_has_one_thread_in_each_worker():
    """Also where OpenCV has run on several threads before: a training draws a sample before its workers start."""
    import cv2

    cv2.setNumThreads(4)
    cv2.warpAffine(np.zeros((1024, 1024), np.float32), np.eye(2, 3, dtype=np.float32), (1024, 1024))
    batches = EpochBatches(4, plan_batches("segmentation", 2, 2, 1), 0, 7)
    found = [int(counts.max()) for (counts,), _, _ in training_loader(Threads(), batches, 1, pin=False)]
    assert found == [1, 1]


PUBLISHED = Path(__file__).parents[2] / "presets" / "original-4x48g.yaml"


class Large:
    """Samples of a million bytes."""

    def __len__(self):
        return 8

    def sample(self, epoch, index):
        return (np.zeros(900_000, np.uint8),), np.zeros(100_000, np.uint8), "study"


@pytest.mark.parametrize(("workers", "held_out", "need"), [
    (1, [], 8_000_000),
    (3, [], 24_000_000),
    # Two workers at most load the validation, which may be more than the training.
    (3, [("study", np.zeros(1_000_000, np.uint8))], 24_000_000),
    (3, [("study", np.zeros(5_000_000, np.uint8))], 40_000_000),
    (1, [("study", np.zeros(5_000_000, np.uint8))], 20_000_000),
    (3, [("study", None)], 24_000_000),
])  # fmt: skip
def test_the_larger_of_training_and_validation_counts_for_every_worker(workers, held_out, need):
    # A batch is 2 MB; 2 processes x workers x 2 batches ahead.
    assert shared_memory(Large(), 2, held_out, 2, workers) == need


@pytest.mark.parametrize("fits", [True, False])
def test_batches_that_do_not_fit_the_shared_memory_are_refused_before_the_start(monkeypatch, fits):
    need = 30_000_000
    monkeypatch.setattr(loaders.shutil, "disk_usage", lambda _path: SimpleNamespace(free=need - (not fits)))
    if fits:
        require_shared_memory("segmentation", need, 8)
    else:
        with pytest.raises(UserError, match=r"8 workers of segmentation need .*--shm-size=1g.* segmentation\.workers"):
            require_shared_memory("segmentation", need, 8)


def bytes_of(batch):
    """Return the bytes of a collated batch, whose first entry is a tuple of tensors."""
    fields, target, _ = batch
    return sum(part.element_size() * part.numel() for part in (*fields, target))


def test_four_gpus_that_train_a_classifier_of_the_published_size_take_at_most_9_gb(tmp_path):
    """A whole batch as a worker makes it, times workers, times the batches ahead, times GPUs."""
    config = read_configuration([PUBLISHED])
    recipe = settings_from(ClassificationRecipe, classifier_recipe(config, "ir"))
    settings = CropSettings(**config["crops"])
    crops = crop_shelf(tmp_path, {"1.2": spine_mask(depth=72)}, settings=settings)
    labels = {"1.2": [0] * 8}
    samples = ClassificationSamples(
        crops,
        ["1.2"],
        labels,
        settings=settings,
        augmentation=recipe.augmentation,
        draws_per_study=recipe.micro_batch,
        fractured_probability=recipe.fractured_probability,
        seed=0,
    )
    batches = EpochBatches(
        len(samples), plan_batches("classification", recipe.micro_batch, recipe.micro_batch, 1), 0, 0
    )
    batch = next(iter(training_loader(samples, batches, 0, pin=False)))
    assert batch[0].image.shape == (16, 40, 256, 256)
    gpus, workers = config["classification"]["gpus"], config["classification"]["workers"]
    assert (gpus, workers) == (4, 8)
    ahead = 2 * workers * gpus * bytes_of(batch)
    assert 8.0e9 < ahead <= 9e9
    held_out = HeldOutStudies(crops, settings, ["1.2"], labels)
    assert shared_memory(samples, recipe.micro_batch, held_out, gpus, workers) == ahead


def test_a_batch_of_the_published_segmentation_holds_three_bytes_a_voxel(tmp_path):
    config = read_configuration([PUBLISHED])
    recipe = settings_from(SegmentationRecipe, segmentation_recipe(config))
    shape = (recipe.window, config["half_size"], config["half_size"])
    facts = {"1.2": volume_facts()}
    half = write_stage(tmp_path, "volumes_half", {"1.2": np.zeros(shape, np.int16)}, facts)
    label = write_stage(tmp_path, "labels_half", {"1.2": np.zeros(shape, np.uint8)}, facts)
    samples = SegmentationSamples(
        Shelf([half]),
        Shelf([label]),
        ["1.2"],
        window=recipe.window,
        draws_per_study=recipe.micro_batch,
        augmentation=recipe.augmentation,
        seed=0,
    )
    batches = EpochBatches(len(samples), plan_batches("segmentation", recipe.micro_batch, recipe.micro_batch, 1), 0, 0)
    batch = next(iter(training_loader(samples, batches, 0, pin=False)))
    voxels = recipe.micro_batch * int(np.prod(shape))
    assert bytes_of(batch) == 3 * voxels + 8 * recipe.micro_batch


class Deadly:
    """Samples whose worker dies, as the system kills one that takes too much memory."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 4

    def sample(self, epoch, index):
        if self.how == "exit":
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_worker_that_dies_is_a_sentence(how):
    batches = EpochBatches(4, plan_batches("segmentation", 2, 2, 1), 0, 7)
    with (
        pytest.raises(UserError, match=r"loads samples for segmentation died.*lower segmentation.workers \(1 now\)"),
        worker_advice("segmentation", 1),
    ):
        list(training_loader(Deadly(how), batches, 1, pin=False))


def test_other_errors_of_a_loader_keep_their_trace():
    with pytest.raises(RuntimeError, match="a defect of ours"), worker_advice("segmentation", 1):
        raise RuntimeError("a defect of ours")
