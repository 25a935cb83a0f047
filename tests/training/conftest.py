"""Trainings on a tiny data set, and processes that are killed for real."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import tiny_data
from spine_models.compute.devices import Compute
from spine_models.training.batching import BatchPlan
from spine_models.training.classification import ClassificationTask
from spine_models.training.loaders import EpochBatches

ONE = Compute("cpu", 1, 1)
TWO = Compute("cpu", 2, 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    ONE.apply()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    tiny_data.write_segmentation_data(root)
    tiny_data.write_classification_data(root)
    return root


def run_in_child(function: Callable[..., Any], *arguments: Any) -> int:
    """Run ``function`` in a forked process and return its exit code, negative for a signal."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        pytest.fail("the child still ran after five minutes")
    return process.exitcode


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a result that equal runs share."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    own = (".run.json", ".lock")
    return {name: path.read_bytes() for name, path in found.items() if not name.endswith(own)}


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
    """Samples of which the draws in some global steps hold an infinity."""

    def __init__(self, samples: Any, draws: set[tuple[int, int]]) -> None:
        self._samples, self._draws = samples, draws

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, epoch: int, index: int) -> Any:
        image, target, study = self._samples.sample(epoch, index)
        if (epoch, index) in self._draws:
            image[..., 0, 0] = float("inf")
        return image, target, study


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
