from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from spine_models.errors import UserError
from spine_models.training import loaders
from spine_models.training.batching import plan_batches
from spine_models.training.loaders import EpochBatches, require_shared_memory, training_loader, validation_loader


class Echo:
    """Samples that say which draw they are."""

    def __len__(self):
        return 23

    def sample(self, epoch, index):
        return np.array([epoch, index], np.float32), np.zeros(1, np.float32), f"study-{index}"


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
        got = [[tuple(int(v) for v in row) for row in images] for images, _, _ in loader]
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

        return np.array([cv2.getNumThreads()]), np.array([0]), "study"


def test_opencv_has_one_thread_in_each_worker():
    """Also where OpenCV has run on several threads before: a training draws a sample before its workers start."""
    import cv2

    cv2.setNumThreads(4)
    cv2.warpAffine(np.zeros((1024, 1024), np.float32), np.eye(2, 3, dtype=np.float32), (1024, 1024))
    batches = EpochBatches(4, plan_batches("segmentation", 2, 2, 1), 0, 7)
    found = [int(image.max()) for image, _, _ in training_loader(Threads(), batches, 1, pin=False)]
    assert found == [1, 1]


class Large:
    """Samples of a million bytes."""

    def __len__(self):
        return 8

    def sample(self, epoch, index):
        return np.zeros(900_000, np.uint8), np.zeros(100_000, np.uint8), "study"


@pytest.mark.parametrize(("workers", "fits"), [(0, True), (3, True), (4, False)])
def test_batches_that_do_not_fit_the_shared_memory_are_refused_before_the_start(monkeypatch, workers, fits):
    # A batch is 2 MB; 2 processes x workers x 2 batches ahead.
    monkeypatch.setattr(loaders.shutil, "disk_usage", lambda _path: SimpleNamespace(free=30_000_000))
    if fits:
        require_shared_memory("segmentation", Large(), 2, 2, workers)
    else:
        with pytest.raises(UserError, match=r"the 8 workers of segmentation need .*--shm-size=1g"):
            require_shared_memory("segmentation", Large(), 2, 2, workers)
