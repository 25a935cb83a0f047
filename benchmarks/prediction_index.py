"""The index of a dump: 50,000 files of 60 studies in one folder, beside a plain pydicom loop, and its memory.

    python -m benchmarks prediction_index

Both read files that the system has cached, in one process.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import pydicom

from benchmarks.check_speed import template
from benchmarks.row import Row, at_least, at_most
from spine_models.data.dataset.prediction_tables import PredictionIndex
from spine_models.data.stages.index_predictions import IndexPredictionsSettings, index_predictions

_STUDIES, _FILES = 60, 50_000
_COMPARED = 5_000
_MEMORY_MB = 500.0
_UID = "1.2.826.0.1.3680043"


def write_dump(root: Path, files: int) -> None:
    """Write the files of all studies into one folder, in no order that says whose they are."""
    templates = [template(root.parent, f"{_UID}.{number}") for number in range(_STUDIES)]
    for index in range(files):
        z = f"{1000.5 - 0.5 * (index // _STUDIES):6.1f}".encode()
        (root / f"IM{index:06d}").write_bytes(templates[index % _STUDIES].replace(b"1000.5", z))


def measure(files: int = _FILES) -> list[Row]:
    """Write the dump, index it and compare."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        root, out = Path(name) / "dump", Path(name) / "out"
        root.mkdir()
        write_dump(root, files)
        begin = time.perf_counter()
        index_predictions(
            root, PredictionIndex(out / "files.csv", out / "studies.csv"), IndexPredictionsSettings(4), "code"
        )
        rate = files / (time.perf_counter() - begin)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        plain = _plain(sorted(root.iterdir())[:_COMPARED])
    title = f"index of a dump of {files} files, beside a pydicom loop (files/s)"
    limit = f"index of a dump of {files} files: memory (MB), of what is allowed"
    return [
        at_least(title, rate, plain, rate / plain, 1.0),
        at_most(limit, memory, _MEMORY_MB, memory / _MEMORY_MB, 1.0),
    ]


def _plain(paths: list[Path]) -> float:
    begin = time.perf_counter()
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True)
    return len(paths) / (time.perf_counter() - begin)
