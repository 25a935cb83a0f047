"""Seconds to convert the same studies in few shards and with one job per study, on the CPU of this machine.

    python -m benchmarks.shards

Both sides are this workflow up to ``convert``. The studies are named so that in as many shards as studies each has one
for itself. A small study is decoded in a tenth of a second, so this is what jobs cost around the work.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.data_sets import write_study, write_train_table
from benchmarks.row import Row, at_least
from spine_models.data.dataset.shards import shard_of

ROOT = Path(__file__).parents[1]
STUDIES, SHARDS, CORES = 12, 2, 2
SLICES, SIDE = 64, 128


def measure() -> list[Row]:
    """Convert both ways and return the ratio of total times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_data(folder / "data")
        ours = _seconds(folder / "data", folder / "shards", SHARDS)
        other = _seconds(folder / "data", folder / "studies", STUDIES)
    return [
        at_least(
            f"convert {STUDIES} studies in {SHARDS} shards against one job per study, {CORES} cores, s",
            ours,
            other,
            other / ours,
            None,
        )
    ]


def _write_data(folder: Path) -> None:
    """Write one study for each of ``STUDIES`` shards."""
    names: dict[int, str] = {}
    number = 0
    while len(names) < STUDIES:
        number += 1
        names.setdefault(shard_of(f"1.2.826.{number}", STUDIES), f"1.2.826.{number}")
    random = np.random.default_rng(0)
    for study in names.values():
        hu = random.integers(-1000, 1500, (SLICES, SIDE, SIDE)).astype(np.int16)
        write_study(folder / "train_images" / study, study, hu)
    write_train_table(folder, list(names.values()))


def _seconds(dataset: Path, work: Path, shards: int) -> float:
    work.mkdir()
    config = [f"dataset_dir={dataset}", f"shards={shards}", "pretrained=none", "segmentation_bundle=bundle"]
    (work / "bundle").mkdir()
    (work / "bundle/bundle.json").write_text("{}")
    place = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(work), "--cores", str(CORES)]
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "snakemake", *place, "convert", "--config", *config], check=True, capture_output=True
    )
    return time.perf_counter() - begin


if __name__ == "__main__":
    for row in measure():
        print(row)
