"""Files a second of ``spine-models check`` beside a plain pydicom loop, over 2,019 studies with headers of real size.

    python -m benchmarks check_speed

A header has about a hundred elements (3 kB), as scanners write them. Both read files that the system has cached.
"""

from __future__ import annotations

import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom

from benchmarks.data_sets import write_study, write_train_table
from benchmarks.row import Row, at_least
from spine_models.data.stages.check_dataset import check_dataset, usable_cores

_STUDIES = 2019
_STUDY = "1.2.826.0.1.3680043"
_TARGET = 0.8


def write_dataset(root: Path, per_study: int) -> None:
    """Write the studies: one file is built, and its position and instance number are exchanged."""
    data = template(root, _STUDY)
    studies = [f"1.2.826.0.1.3680043.{number}" for number in range(_STUDIES)]
    for study in studies:
        folder = root / "train_images" / study
        folder.mkdir(parents=True)
        for index in range(per_study):
            own = data.replace(b"1000.5", f"{1000.5 - 0.5 * index:6.1f}".encode())
            (folder / f"{index}.dcm").write_bytes(own.replace(b"9999", f"{index + 1:4d}".encode()))
    write_train_table(root, studies)


def template(root: Path, study: str) -> bytes:
    """Return a file at 1000.5 mm with InstanceNumber 9999, and 70 elements more than the phantom's writer gives it."""
    hu = np.arange(64 * 64, dtype=np.int16).reshape(1, 64, 64)
    [path] = write_study(root, study, hu, first_number=9999)
    dataset = pydicom.dcmread(path)
    path.unlink()
    for number in range(70):
        dataset.add_new((0x0018, 0x9000 + number), "LO", f"value {number} of a scanner's header")
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def measure(per_study: int = 20) -> list[Row]:
    """Write the data set, and check it with one process and with all cores."""
    rows = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        root = Path(name)
        write_dataset(root, per_study)
        plain = _plain(root)
        for processes in sorted({1, usable_cores()}):
            report = check_dataset(root, False, None, processes, lambda files: None)
            assert not report.quarantine, report.quarantine[0]
            rate = report.files / report.seconds
            title = f"check, {processes} processes, beside a pydicom loop (files/s; ratio per process)"
            rows.append(at_least(title, rate, plain, rate / processes / plain, _TARGET))
    return rows


def _plain(root: Path, files: int = 10_000) -> float:
    paths = sorted(root.rglob("*.dcm"))[:files]
    begin = time.perf_counter()
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True)
    return len(paths) / (time.perf_counter() - begin)
