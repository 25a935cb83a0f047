"""Files a second of ``spine-models check`` beside a plain pydicom loop, over 2,019 studies with headers of real size.

    python -m benchmarks check_speed

A header has about a hundred elements (3 kB), as scanners write them. Both read files that the system has cached.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom

from benchmarks.row import Row, at_least
from spine_models.data.stages.check_dataset import check_dataset, usable_cores
from spine_models.levels import TARGETS
from tests.data.dicom_builder import encoded, make_slice

_STUDIES = 2019
_TARGET = 0.8


def write_dataset(root: Path, per_study: int) -> None:
    """Write the studies: one file is built, and its position and instance number are exchanged."""
    stored = np.arange(64 * 64, dtype="<i2").reshape(64, 64)
    dataset = make_slice(stored, (0, 0, 1000), 9999)
    for number in range(70):
        dataset.add_new((0x0018, 0x9000 + number), "LO", f"value {number} of a scanner's header")
    dataset.ImagePositionPatient = ["-123.5", "-15.64097", "1000.5"]
    template = encoded(dataset)
    rows = []
    for study in range(_STUDIES):
        uid = f"1.2.826.0.1.3680043.{study}"
        rows.append(f"{uid},0,0,0,0,0,0,0,0")
        folder = root / "train_images" / uid
        folder.mkdir(parents=True)
        for index in range(per_study):
            data = template.replace(b"1000.5", f"{1000.5 - 0.5 * index:6.1f}".encode())
            (folder / f"{index}.dcm").write_bytes(data.replace(b"9999", f"{index + 1:4d}".encode()))
    (root / "train.csv").write_text("\n".join([f"StudyInstanceUID,{','.join(TARGETS)}", *rows]) + "\n")


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
            title = f"check, {processes} processes, beside a pydicom loop (files/s; ratio a process)"
            rows.append(at_least(title, rate, plain, rate / processes / plain, _TARGET))
    return rows


def _plain(root: Path, files: int = 10_000) -> float:
    paths = sorted(root.rglob("*.dcm"))[:files]
    begin = time.perf_counter()
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True)
    return len(paths) / (time.perf_counter() - begin)
