"""One process against two (gloo) on the CPU, for the same global batch: seconds a step of a classifier.

    python -m benchmarks two_processes

The processes share the machine's cores, one thread each, so that on two idle cores a ratio near 2 is the best that
there is. Both sides are measured in turn, and the best of each counts: what else the machine does only adds time.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from benchmarks.row import Row, at_least

ROOT = Path(__file__).resolve().parents[1]
TARGET = 1.4
TURNS = 3


def seconds_a_step(data: Path, folder: Path, processes: int) -> float:
    """Train and return the seconds of a step in the second epoch, the first with everything warm."""
    from benchmarks.tiny_training import classification_task, make_job
    from spine_models.compute.devices import Compute
    from spine_models.training.job import run_job

    network = {"kind": "csn", "mode": "ip", "depth": 50, "base_channels": 32, "dropout": 0.5}
    task = classification_task(
        data, network=network, freeze_bn=True, global_batch=8, micro_batch=4, draws_per_study=32, epochs=2
    )
    run_job(make_job(folder), task, Compute("cpu", processes, 1))
    second = json.loads((folder / "out" / "history.run.json").read_text())[1]
    steps = len(task.samples(1)) // task.recipe.global_batch
    return float(second["training_seconds"]) / steps


def measure() -> list[Row]:
    """Train in one process, then in two."""
    from benchmarks import tiny_data

    # The processes of a training import the data set by name.
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_data.write_classification_data(folder)
        turns = [
            [seconds_a_step(folder, folder / f"{turn}-{processes}", processes) for processes in (1, 2)]
            for turn in range(TURNS)
        ]
        one, two = map(min, zip(*turns, strict=True))
    name = "training step, two processes beside one, same global batch (s; times faster)"
    return [at_least(name, two, one, one / two, TARGET)]
