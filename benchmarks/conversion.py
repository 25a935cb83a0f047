"""A study to its full-size and half-size arrays, beside the plain way, dicomsdl and the limit.

    python -m benchmarks conversion

A study of 300 slices of 512 x 512, ``z_step`` 2, raw, in JPEG-lossless and in JPEG 2000, in memory (``/dev/shm``), on
one thread. Ours is what the rule does with a study: headers of all slices, digests, checks, both arrays and their
records. The others:

* plain: pydicom (whichever decoder it picks), float64 arithmetic, OpenCV and ``np.save``, every slice, then ``[::2]``;
* lean: pydicom and OpenCV for the slices that are kept, in 16-bit integers, without digests and checks;
* dicomsdl: as plain, read by dicomsdl; only where it is installed (``benchmarks/requirements-peers.txt``);
* limit: the bytes of the kept slices' files read, and the bytes of both arrays written, nothing else.

Two workers convert two copies of the study, one each, and are compared with one worker that converts both.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1

from benchmarks.alternating import Times, alternating, opencv_on_one_thread
from benchmarks.data_sets import write_study
from benchmarks.row import Row, at_most
from spine_models.data.dicom.study import VolumeSettings, open_study
from spine_models.data.stages.convert_volumes import write_arrays
from spine_models.provenance.keys import Key
from spine_models.provenance.records import write_record

_SLICES, _SIDE, _DISTINCT = 300, 512, 20
_SETTINGS = VolumeSettings()
_STUDY = "1.2.826.0.1.3680043.17"
_AIR = -1000

Hounsfield = NDArray[np.int16]


@dataclass(frozen=True)
class Work:
    """One transfer syntax, and what its conversion should reach.

    Attributes:
        name: for the row.
        syntax: how the slices are stored.
        plain: wanted ratio to the plain way on one worker.
        two: wanted ratio to the plain way on two workers.
        limit: wanted multiple of the limit; None where decoding is most of the work.
        rounds: how often each way is timed.
    """

    name: str
    syntax: UID
    plain: float
    two: float | None
    limit: float | None
    rounds: int


WORKS = (
    Work("raw", ExplicitVRLittleEndian, 3.0, None, 4.0, 5),
    Work("JPEG-lossless", JPEGLosslessSV1, 4.0, 7.0, None, 3),
    Work("JPEG 2000", JPEG2000Lossless, 2.1, 4.0, None, 3),
)


def measure() -> list[Row]:
    """Write the studies, convert them in all ways in turns, and compare the arrays."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name, opencv_on_one_thread():
        return [row for work in WORKS for row in _rows(Path(name), work)]


def _rows(folder: Path, work: Work) -> list[Row]:
    study, out = folder / "study", folder / "out"
    _write(study, work.syntax)
    out.mkdir()
    ours, plain = partial(convert, study, out), partial(plain_way, study, out)
    ours()
    expected = _arrays(out)
    title = f"{work.name} study of {_SLICES} slices"
    others: list[tuple[str, Callable[[], object], float | None]] = [("the plain way", plain, work.plain)]
    others.append(("the lean way", partial(lean_way, study, out), None))
    if importlib.util.find_spec("dicomsdl") is not None and work.syntax == ExplicitVRLittleEndian:
        others.append(("dicomsdl and the same steps", partial(dicomsdl_way, study, out), 1.0))
    rows = []
    for name, way, target in others:
        way()
        assert all(np.array_equal(*pair) for pair in zip(_arrays(out), expected, strict=True)), name
        rows.append(alternating(ours, way, work.rounds).row(f"{title}, beside {name}", target))
    if len(others) == 2 and work.syntax == ExplicitVRLittleEndian:
        rows.append(Row(f"{title}, ms; dicomsdl is not installed", rows[0].ours, None, None, None, True))
    if work.limit:
        times = alternating(ours, partial(limit, study, out, expected), work.rounds)
        rows.append(_multiple(f"{title}, beside reading and writing its bytes", times, work.limit))
    rows += _two_workers(folder, title, work, plain)
    shutil.rmtree(study)
    shutil.rmtree(out)
    return rows


def _multiple(name: str, times: Times, target: float) -> Row:
    multiples = sorted(ours / other for ours, other in zip(times.ours, times.other, strict=True))
    middle = len(multiples) // 2
    name = f"{name}, ms; {multiples[0]:.2f} to {multiples[-1]:.2f} times as long"
    ours, other = sorted(times.ours)[middle], sorted(times.other)[middle]
    return at_most(name, 1e3 * ours, 1e3 * other, multiples[middle], target)


def _two_workers(folder: Path, title: str, work: Work, plain: Callable[[], object]) -> list[Row]:
    """Two studies by two workers, beside one worker, and beside the plain way on one."""
    copies = [(folder / "study", folder / "out"), (folder / "copy", folder / "copied")]
    shutil.copytree(*(pair[0] for pair in copies))
    copies[1][1].mkdir()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:

        def both() -> None:
            for task in [pool.submit(convert, *pair) for pair in copies]:
                task.result()

        def one() -> None:
            for pair in copies:
                pool.submit(convert, *pair).result()

        def twice_plain() -> None:
            plain()
            plain()

        two = alternating(both, one, work.rounds).row(f"two {title}, two workers beside one", 1.85)
        beside = alternating(both, twice_plain, work.rounds).row(
            f"two {title}, two workers beside the plain way", work.two
        )
    shutil.rmtree(copies[1][0])
    shutil.rmtree(copies[1][1])
    return [two, beside]


def convert(study: Path, out: Path) -> None:
    """Do with a study what ``convert_volumes`` does, without what it does once in a shard."""
    source = open_study(study, study, _SETTINGS)
    key = Key("benchmark", {"files": source.content_digest}, {}, "code")
    made = write_arrays(source, _SETTINGS, out / "full.npy", out / "half.npy")
    write_record(out / "full.json", key, made.full, {})
    write_record(out / "half.json", key, made.half, made.facts)


def plain_way(study: Path, out: Path) -> None:
    """Read with pydicom, float64 arithmetic, every slice, then every second."""
    _in_float64(out, [_by_pydicom(path) for path in sorted(study.iterdir())])


def dicomsdl_way(study: Path, out: Path) -> None:
    """Read with dicomsdl, then as the plain way."""
    _in_float64(out, [_by_dicomsdl(path) for path in sorted(study.iterdir())])


def _in_float64(out: Path, slices: list[tuple[float, NDArray[Any], float, float]]) -> None:
    slices.sort(key=lambda item: -item[0])
    full = [np.rint(values * slope + intercept).astype(np.int16) for _, values, slope, intercept in slices]
    half = [_halved(image) for image in full]
    np.save(out / "full.npy", np.stack(full)[::2])
    np.save(out / "half.npy", np.stack(half)[::2])


def lean_way(study: Path, out: Path) -> None:
    """Read the headers with pydicom, then only every second slice, in 16-bit integers."""
    headers = [(path, pydicom.dcmread(path, stop_before_pixels=True)) for path in sorted(study.iterdir())]
    headers.sort(key=lambda item: -float(item[1].ImagePositionPatient[2]))
    full = np.empty((len(headers[::2]), _SIDE, _SIDE), np.int16)
    for index, (path, _) in enumerate(headers[::2]):
        dataset = pydicom.dcmread(path)
        full[index] = dataset.pixel_array * np.int16(dataset.RescaleSlope) + np.int16(dataset.RescaleIntercept)
    np.save(out / "full.npy", full)
    np.save(out / "half.npy", np.stack([_halved(image) for image in full]))


def limit(study: Path, out: Path, arrays: tuple[Hounsfield, Hounsfield]) -> None:
    """Read the files of the kept slices, and write the arrays."""
    for path in sorted(study.iterdir())[::2]:
        path.read_bytes()
    for name, array in zip(("full.npy", "half.npy"), arrays, strict=True):
        np.save(out / name, array)


def _by_pydicom(path: Path) -> tuple[float, NDArray[Any], float, float]:
    dataset = pydicom.dcmread(path)
    place = float(dataset.ImagePositionPatient[2])
    return place, dataset.pixel_array, float(dataset.RescaleSlope), float(dataset.RescaleIntercept)


def _by_dicomsdl(path: Path) -> tuple[float, NDArray[Any], float, float]:
    import dicomsdl

    dataset = dicomsdl.open_file(str(path))
    stored = dataset.pixelData(storedvalue=True)
    return float(dataset.ImagePositionPatient[2]), stored, float(dataset.RescaleSlope), float(dataset.RescaleIntercept)


def _halved(image: Hounsfield) -> Hounsfield:
    resized = cv2.resize(image.astype(np.float32), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.rint(resized).astype(np.int16)


def _arrays(out: Path) -> tuple[Hounsfield, Hounsfield]:
    return np.load(out / "full.npy"), np.load(out / "half.npy")


def _write(folder: Path, syntax: UID) -> None:
    """Write the study: smooth anatomy and noise of 12 HU within a circle; ``_DISTINCT`` slices in turn."""
    draw = np.random.default_rng(0)
    rows, columns = np.indices((_SIDE, _SIDE)) - _SIDE / 2
    inside = np.hypot(rows, columns) < 0.45 * _SIDE
    slices = []
    for _ in range(_DISTINCT):
        anatomy = cv2.GaussianBlur(draw.normal(0, 1, (_SIDE, _SIDE)).astype(np.float32), (0, 0), 12) * 4000
        image = np.where(inside, np.clip(anatomy, _AIR, 1500) + draw.normal(0, 12, inside.shape), _AIR)
        slices.append(np.rint(image).astype(np.int16))
    paths = write_study(folder, _STUDY, np.stack([slices[i % _DISTINCT] for i in range(_SLICES)]))
    frames: list[bytes] = []
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        del dataset.PixelPaddingValue  # which the other ways do not look at
        if syntax != ExplicitVRLittleEndian:
            if index < _DISTINCT:
                frames.append(_encoded(dataset.pixel_array, syntax))
            dataset.PixelData = encapsulate([frames[index % _DISTINCT]])
            dataset["PixelData"].is_undefined_length = True
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path)


def _encoded(stored: NDArray[Any], syntax: UID) -> bytes:
    if syntax == JPEGLosslessSV1:
        return bytes(imagecodecs.jpeg8_encode(stored.view(np.uint16), lossless=True, predictor=1, bitspersample=16))
    return bytes(imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k", reversible=True))
