"""From the numpy samples of ``data`` to batches of tensors, in an order that a resumed run finds again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from spine_models.data.samples.augmentation import one_thread
from spine_models.errors import UserError
from spine_models.processes import begin_child
from spine_models.training.batching import BatchPlan

Key = tuple[int, int]
"""Epoch and index of a draw."""
_SHARED_MEMORY = "/dev/shm"
_BATCHES_AHEAD = 2
"""Batches that each worker prepares ahead: PyTorch's own number."""


class Samples(Protocol):
    """Training samples of ``data``: a pure function of seed, epoch and index."""

    def __len__(self) -> int:
        """Return the draws of an epoch."""
        ...

    def sample(self, epoch: int, index: int) -> tuple[Any, np.ndarray[Any, Any], str]:
        """Return a named tuple of arrays, which the stage's module makes images of; target; study."""
        ...


class Studies(Protocol):
    """Held-out studies; one item is all that the validation of a study needs."""

    def __len__(self) -> int:
        """Return the number of studies."""
        ...

    def __getitem__(self, index: int) -> Any:
        """Return one study."""
        ...


class Draws(Dataset[tuple[Any, np.ndarray[Any, Any], str]]):
    """Samples as a torch data set whose keys carry the epoch, so that worker processes need no message."""

    def __init__(self, samples: Samples) -> None:
        """Wrap ``samples``."""
        self.samples = samples

    def __getitem__(self, key: Key) -> tuple[Any, np.ndarray[Any, Any], str]:
        """Return the draw ``(epoch, index)``, of which PyTorch stacks each field."""
        return self.samples.sample(*key)


class EpochBatches(Sampler[list[Key]]):
    """Batches of one process, in an order that only (seed, epoch) determines.

    The draws of an epoch are permuted and cut into global batches; what is left over is dropped. Within a global
    batch, micro-batch ``m`` is the ``m // processes``-th of process ``m % processes``, so that one process with
    twice the accumulation sees the same samples in a step as two processes do.
    """

    def __init__(self, draws: int, plan: BatchPlan, rank: int, seed: int) -> None:
        """Set up the order for ``draws`` draws an epoch.

        Raises:
            UserError: if an epoch has fewer draws than one global batch.
        """
        if draws == 0:
            raise UserError(
                "no study of this training has anything to draw: its masks show no vertebra of crops.min_voxels, "
                "so look at segmentation/fold*/metrics.json and the masks"
            )
        if draws < plan.global_batch:
            raise UserError(
                f"an epoch has {draws} draws, fewer than the global_batch of {plan.global_batch}: "
                "lower global_batch or raise draws_per_study"
            )
        self.draws, self.plan, self.rank, self.seed = draws, plan, rank, seed
        self.steps = draws // plan.global_batch
        self.epoch, self._first_step = 0, 0

    @property
    def sampler(self) -> EpochBatches:
        """Itself: Lightning looks here for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Order the next iteration by ``epoch``; a start in the middle of another epoch is forgotten."""
        if epoch != self.epoch:
            self.epoch, self._first_step = epoch, 0

    def start_at(self, epoch: int, step: int) -> None:
        """Let the next iteration begin at ``step`` of ``epoch``."""
        self.epoch, self._first_step = epoch, step

    def __len__(self) -> int:
        """Return the micro-batches of this process in a whole epoch."""
        return self.steps * self.plan.accumulation

    def __iter__(self) -> Iterator[list[Key]]:
        """Iterate over this process's micro-batches as lists of (epoch, index)."""
        epoch, first = self.epoch, self._first_step
        size = self.plan.micro_batch
        for chunk in self.order(epoch)[first:]:
            for part in range(self.plan.accumulation):
                at = (part * self.plan.processes + self.rank) * size
                yield [(epoch, int(index)) for index in chunk[at : at + size]]

    def order(self, epoch: int) -> np.ndarray[Any, Any]:
        """Return the indices of an epoch's draws, (steps, global_batch)."""
        permuted = np.random.default_rng([self.seed, epoch]).permutation(self.draws)
        return permuted[: self.steps * self.plan.global_batch].reshape(self.steps, self.plan.global_batch)


class _Share(Dataset[Any]):
    """Every study of the validation in exactly one process: no padding, so none counts twice."""

    def __init__(self, studies: Studies, indices: Sequence[int]) -> None:
        self.studies, self.indices = studies, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.studies[self.indices[index]]


def shared_memory(samples: Samples, batch: int, held_out: Studies, processes: int, workers: int) -> int:
    """Return the bytes of ``/dev/shm`` that all workers of a job need for what they prepare ahead.

    Training and validation take turns: the larger of the two counts. One draw and one held-out study stand for all.

    Args:
        samples: of the training.
        batch: samples of a batch.
        held_out: studies of the validation.
        processes: that train on this machine.
        workers: of each process.
    """
    training = _bytes_of(samples.sample(0, 0)) * batch * workers
    validation = _bytes_of(held_out[0]) * _validation_workers(workers) if len(held_out) else 0
    return max(training, validation) * processes * _BATCHES_AHEAD


def require_shared_memory(stage: str, need: int, workers: int) -> None:
    """Refuse to start where what the workers prepare ahead does not fit ``/dev/shm``.

    Otherwise a worker ends with a bus error as soon as it is full; containers have 64 MB of it by default.

    Args:
        stage: section of the configuration, for the sentence.
        need: bytes, see ``shared_memory``.
        workers: of all processes on this machine.

    Raises:
        UserError: if they need more than is free.
    """
    free = shutil.disk_usage(_SHARED_MEMORY).free
    if need > free:
        raise UserError(
            f"{_SHARED_MEMORY} has {free / 1e9:.1f} GB free and the {workers} workers of {stage} need "
            f"{need / 1e9:.1f} GB: give a container more (docker run --shm-size={need // 10**9 + 1}g) or lower "
            f"{stage}.workers"
        )


def training_loader(samples: Samples, batches: EpochBatches, workers: int, pin: bool) -> DataLoader[Any]:
    """Return the batches of one process: samples, whose fields are (N, ...), targets (N, ...), a list of studies."""
    return DataLoader(Draws(samples), batch_sampler=batches, num_workers=workers, pin_memory=pin, **_common(workers))


def validation_loader(studies: Studies, rank: int, processes: int, workers: int) -> DataLoader[Any]:
    """Return this process's share of the validation, one study an item, as the data set gives it."""
    share = _Share(studies, range(rank, len(studies), processes))
    return DataLoader(share, batch_size=None, num_workers=_validation_workers(workers), **_common(workers))


@contextmanager
def worker_advice(stage: str, workers: int) -> Iterator[None]:
    """Turn the death of a worker of a loader inside the block into a sentence.

    Raises:
        UserError: if a worker dies; PyTorch gives a ``RuntimeError`` that begins with ``DataLoader worker``.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise UserError(
            f"a process that loads samples for {stage} died, most likely because memory ran out or a file that it read "
            f"was cut off (a line above says so): give the job more memory (mem_mb of the rule) or lower "
            f"{stage}.workers ({workers} now), then run the same command again, which goes on from the last checkpoint"
        ) from None


def _validation_workers(workers: int) -> int:
    return min(workers, 2)


def _bytes_of(value: Any) -> int:
    """Return the bytes of all arrays and tensors in nested tuples."""
    if isinstance(value, tuple):
        return sum(map(_bytes_of, value))
    return int(getattr(value, "nbytes", 0))


def _common(workers: int) -> dict[str, Any]:
    # A generator of its own: torch would draw each iterator's base seed from the global random numbers, of which a
    # resumed run makes one iterator more than an undisturbed one.
    options: dict[str, Any] = {"generator": torch.Generator().manual_seed(0)}
    if workers:
        # OpenCV would take all cores in each worker. Here and not in the workers: a fork has none of the threads that
        # OpenCV started before it, and waits for them for ever when their number is set.
        one_thread()
        options |= {"persistent_workers": True, "worker_init_fn": begin_child}
    return options
