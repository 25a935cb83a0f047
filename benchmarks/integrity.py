"""What comparing files of full size with their records costs each job that reads them first.

    python -m benchmarks integrity

A study of 300 slices of 512 x 512, its half-size volume and the weights of a classifier of 152 layers (118 MB) are
written once, and the comparison that a job makes on the first touch is timed, in cached memory. 0.2 s is the limit.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.row import Row, at_most
from spine_models.provenance.keys import Key
from spine_models.provenance.records import file_facts, open_array, read_record, write_array, write_record
from spine_models.provenance.vouched import vouch, vouched

_LIMIT_S = 0.2
_WEIGHTS = 118_000_000


def measure() -> list[Row]:
    """Write the files and compare each with its record; the smallest of five times."""
    draw = np.random.default_rng(0)
    key = Key("benchmark", {}, {}, "code")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for what, shape in (("full-size volume, 300 slices", (300, 512, 512)), ("half-size volume", (300, 256, 256))):
            path = folder / f"{len(rows)}.json"
            array = draw.integers(-1024, 3071, shape, dtype=np.int16)
            write_record(path, key, {"a.npy": write_array(folder / "a.npy", array)}, {})
            rows.append(_row(f"{what}: compared with its record (s)", lambda at=path: _open(at)))
        weights = folder / "model.safetensors"
        weights.write_bytes(draw.bytes(_WEIGHTS))
        vouch(weights, key, file_facts(weights))
        rows.append(_row("weights of a classifier: compared with their record (s)", lambda: vouched(weights)))
        return rows


def _open(path: Path) -> None:
    open_array(path, "a.npy", read_record(path))


def _row(name: str, compare: Callable[[], object]) -> Row:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        compare()
        times.append(time.perf_counter() - begin)
    return at_most(name, min(times), _LIMIT_S, min(times) / _LIMIT_S, 1.0)
