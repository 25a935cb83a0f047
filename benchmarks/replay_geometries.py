"""Replay the geometry of the challenge's 2,019 training studies with tiny pixels that say where they are.

The challenge's metadata tables (one row a study, and every slice of the odd studies) are turned into files with the
challenge's tags: positions, file numbers, direction, repeats. Each file's first pixel holds its rank from the head,
the others its height. The volume that comes back must have every position once, superior first, every plane must
hold the height that the affine gives it, and ``z_step: 2`` must give every second plane.

    python -m benchmarks.replay_geometries FOLDER_WITH_THE_TABLES
"""

from __future__ import annotations

import argparse
import csv
import gzip
import shutil
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dicom.study import StudyVolume, VolumeSettings, read_study

_HEIGHT_UNITS = 90.0  # of HU a mm: 334 mm, the tallest study, fit into int16
_SHAPE = (2, 3)


@dataclass(frozen=True)
class Geometry:
    """Positions of a study's files, (n, 3) mm, in the order of their numbers, and the first of the numbers."""

    study: str
    positions: NDArray[np.float64]
    first_number: int
    odd: bool


@dataclass(frozen=True)
class Outcome:
    """What came of one study: slices read, what is wrong ("" if nothing), and the notes."""

    study: str
    slices: int
    wrong: str
    notes: list[str]
    odd: bool


def read_geometries(folder: Path) -> Iterator[Geometry]:
    """Yield the geometries of ``studies.csv.gz``, the odd ones from ``odd_studies_slices.csv.gz``."""
    odd = defaultdict(list)
    for row in _rows(folder / "odd_studies_slices.csv.gz"):
        odd[row["StudyInstanceUID"]].append(
            (int(row["Slice"]), *(float(row[f"ImagePositionPatient_{a}"]) for a in "xyz"))
        )
    for row in _rows(folder / "studies.csv.gz"):
        study = row["StudyInstanceUID"]
        if study in odd:
            slices = np.array(sorted(odd[study]))
            yield Geometry(study, slices[:, 1:], int(slices[0, 0]), odd=True)
            continue
        count, rising = int(row["n_slices"]), int(row["n_z_rising"]) > int(row["n_z_falling"])
        heights = np.arange(count) * float(row["z_extent_mm"]) / (count - 1) * (1 if rising else -1) + 100.0
        positions = np.column_stack([np.full(count, -80.0), np.full(count, -60.0), heights])
        yield Geometry(study, positions, int(row["first_file_number"]), odd=False)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as stream:
        yield from csv.DictReader(stream)


def write_study(geometry: Geometry, folder: Path) -> NDArray[np.float64]:
    """Write a study's files; return its distinct heights, from the head down."""
    heights = np.unique(geometry.positions[:, 2])[::-1]
    ranks = len(heights) - 1 - np.searchsorted(heights[::-1], geometry.positions[:, 2])
    middle = (heights[0] + heights[-1]) / 2
    repeated: dict[int, int] = defaultdict(int)
    for index, (position, rank) in enumerate(zip(geometry.positions, ranks, strict=True)):
        number = geometry.first_number + index
        pixels = np.full(_SHAPE, round((position[2] - middle) * _HEIGHT_UNITS), "<i2")
        pixels[0, 0] = rank
        pixels[1, 2] = repeated[int(rank)]
        repeated[int(rank)] += 1
        (folder / f"{number}.dcm").write_bytes(_file(geometry.study, number, position, pixels))
    return heights


def _file(study: str, number: int, position: NDArray[np.float64], pixels: NDArray[np.int16]) -> bytes:
    """A file in explicit VR little endian, with the tags that the challenge's files have."""
    meta = _element(2, 0x10, "UI", b"1.2.840.10008.1.2.1\0")
    where = "\\".join(f"{value:.9g}" for value in position)
    body = b"".join(
        (
            _element(0x20, 0x0D, "UI", study.encode()),
            _element(0x20, 0x0E, "UI", f"{study}.1".encode()),
            _element(0x20, 0x13, "IS", str(number).encode()),
            _element(0x20, 0x32, "DS", where.encode()),
            _element(0x20, 0x37, "DS", b"1\\0\\0\\0\\1\\0"),
            _element(0x28, 0x02, "US", struct.pack("<H", 1)),
            _element(0x28, 0x04, "CS", b"MONOCHROME2"),
            _element(0x28, 0x10, "US", struct.pack("<H", _SHAPE[0])),
            _element(0x28, 0x11, "US", struct.pack("<H", _SHAPE[1])),
            _element(0x28, 0x30, "DS", b"0.312\\0.312"),
            *(_element(0x28, tag, "US", struct.pack("<H", value)) for tag, value in _BITS),
            _element(0x28, 0x1052, "DS", b"0"),
            _element(0x28, 0x1053, "DS", b"1"),
        )
    )
    values = pixels.tobytes()
    return b"\0" * 128 + b"DICM" + meta + body + struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, len(values)) + values


_BITS = ((0x100, 16), (0x101, 16), (0x102, 15), (0x103, 1))


def _element(group: int, element: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr.encode(), len(value)) + value


def replay(geometry: Geometry, scratch: Path) -> Outcome:
    """Write one study, read it back and compare."""
    folder = scratch / geometry.study
    folder.mkdir()
    try:
        heights = write_study(geometry, folder)
        every = read_study(folder, VolumeSettings(z_step=1, half_size=4))
        second = read_study(folder, VolumeSettings(z_step=2, half_size=4))
        wrong = _wrong(every, second, heights)
        return Outcome(geometry.study, every.full.shape[0], wrong, every.facts.notes, geometry.odd)
    except StudyRefused as refusal:
        return Outcome(geometry.study, 0, str(refusal), [], geometry.odd)
    finally:
        shutil.rmtree(folder)


def _wrong(every: StudyVolume, second: StudyVolume, heights: NDArray[np.float64]) -> str:
    """Say what is wrong with the volumes, "" if nothing."""
    affine = np.array(every.facts.affine_lps)
    planes = np.arange(len(every.full))
    placed = affine[2, 0] * planes + affine[2, 3]
    stored = every.full[:, 0, 1] / _HEIGHT_UNITS + (heights[0] + heights[-1]) / 2
    if np.abs(placed - stored).max() > 0.02:
        return f"planes are up to {np.abs(placed - stored).max():.3f} mm from where the affine puts them"
    if not np.array_equal(second.full, every.full[::2]):
        return "z_step: 2 is not every second plane"
    if every.full[:, 1, 2].any():
        return "two passes are mixed"
    irregular = any("irregular" in note for note in every.facts.notes)
    if not irregular and every.full[:, 0, 0].tolist() != list(range(len(heights))):
        return "slices are missing, repeated or out of order"
    if irregular and np.any(np.diff(every.full[:, 0, 0]) < 0):
        return "slices are out of order"
    return ""


def main() -> None:
    """Replay all studies and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path)
    folder = parser.parse_args().tables
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        geometries = list(read_geometries(folder))
        with ProcessPoolExecutor() as pool:
            outcomes = list(pool.map(replay, geometries, [Path(scratch)] * len(geometries), chunksize=8))
    for outcome in outcomes:
        if outcome.wrong or outcome.odd:
            print(outcome.study, outcome.slices, outcome.wrong or "right", "; ".join(outcome.notes))
    right = sum(not outcome.wrong for outcome in outcomes)
    slices = sum(len(geometry.positions) for geometry in geometries)
    print(f"{right} of {len(outcomes)} studies right, {slices} files, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
