"""Trainings on a tiny data set, and processes that are killed for real."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import tiny_data
from spine_models.compute.devices import Compute
from spine_models.data.samples import augmentation

ONE = Compute("cpu", 1, 1)
TWO = Compute("cpu", 2, 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # A child that is forked while OpenCV's pool is there waits for ever when it changes the pool.
    augmentation.one_thread()
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


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a result that equal runs share."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    own = (".run.json", ".lock")
    return {name: path.read_bytes() for name, path in found.items() if not name.endswith(own)}
