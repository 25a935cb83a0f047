"""Random trees of studies, series, passes and strays, whose pixels say whose they are.

    python -m tests.fuzz.layout_cases 1000

Every file must be accounted for, every study predicted or refused, and no plane may hold a voxel of another patient,
study, series or pass than the others. A tree is a pure function of its seed.
"""

from __future__ import annotations

import argparse
import random
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dicom.choice import for_the_neck
from spine_models.data.dicom.study import StudySource, VolumeSettings, decode_study, open_candidates
from spine_models.data.dicom.tree import TreeStudy, read_tree
from spine_models.inference.inventory import refused_rows

_OWNERS = 200
"""Pixels of an owner (patient, study, series, pass) begin at a multiple of this; what is above is the position."""
_SETTINGS = VolumeSettings(z_step=1, half_size=4)
_SHORT = struct.Struct("<H")


@dataclass
class Slice:
    """One file: the elements that matter, and its pixels."""

    elements: dict[int, tuple[str, bytes]]
    value: int

    def encoded(self) -> bytes:
        """Return the file in explicit VR little endian."""
        pixels = np.full((2, 3), self.value, "<i2")
        elements = self.elements | {
            0x00280002: ("US", _SHORT.pack(1)), 0x00280004: ("CS", b"MONOCHROME2"), 0x00280010: ("US", _SHORT.pack(2)),
            0x00280011: ("US", _SHORT.pack(3)), 0x00280030: ("DS", b"0.5\\0.5"), 0x00280100: ("US", _SHORT.pack(16)),
            0x00280101: ("US", _SHORT.pack(16)), 0x00280102: ("US", _SHORT.pack(15)),
            0x00280103: ("US", _SHORT.pack(1)),
            0x00281052: ("DS", b"0"), 0x00281053: ("DS", b"1"),
        }  # fmt: skip
        body = b"".join(_element(tag, *value) for tag, value in sorted(elements.items()))
        meta = _element(0x00020010, "UI", b"1.2.840.10008.1.2.1")
        end = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, pixels.nbytes) + pixels.tobytes()
        return b"\0" * 128 + b"DICM" + meta + body + end


def _element(tag: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


@dataclass
class Plan:
    """What a tree holds: path to content, and what each study must become."""

    files: dict[str, bytes] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    owners: list[tuple[int, str, str, int]] = field(default_factory=list)

    def owner(self, patient: int, study: str, series: str, part: int) -> int:
        """Return the first pixel value of an owner."""
        self.owners.append((patient, study, series, part))
        return (len(self.owners) - 1) * _OWNERS


_TELLS = {
    "acquisition": lambda part: {0x00200012: ("IS", str(part + 1).encode())},
    "voltage": lambda part: {0x00180060: ("DS", str(80 + 60 * part).encode())},
    "kernel": lambda part: {0x00181210: ("SH", f"B{30 + 30 * part}".encode())},
    "temporal": lambda part: {0x00200100: ("IS", str(part + 1).encode())},
    "instance": lambda part: {},
}


def plan_of(seed: int) -> Plan:
    """Draw a tree."""
    draw, plan = random.Random(seed), Plan()
    place = draw.choice([_flat, _by_study, _by_series, _nested])
    for patient in range(draw.randint(1, 3)):
        for number in range(draw.randint(1, 2)):
            study = f"1.2.{seed + 1}.{patient + 1}.{number + 1}"
            plan.patients[study] = patient
            for count in range(draw.randint(1, 3)):
                folder = place(draw, patient, study, count)
                for name, content in _series(draw, plan, patient, study, f"{study}.{count + 1}"):
                    plan.files[f"{folder}{name}"] = content
            if draw.random() < 0.05:
                plan.refused[study] = "several_patients"
                stranger = _slice(draw, 9, study, f"{study}.1", 50.0, 999, 0)
                plan.files[f"{place(draw, patient, study, 0)}stranger{number}{patient}"] = stranger.encoded()
    _strays(draw, plan)
    return plan


def _flat(draw: random.Random, patient: int, study: str, series: int) -> str:
    return f"IM{patient}{study[-1]}{series}"


def _by_study(draw: random.Random, patient: int, study: str, series: int) -> str:
    return f"{study}/{series}"


def _by_series(draw: random.Random, patient: int, study: str, series: int) -> str:
    return f"{patient}_{study[-1]}_Series {series}/"


def _nested(draw: random.Random, patient: int, study: str, series: int) -> str:
    return f"DICOM/PA{patient}/ST{study[-1]}/SE{series}/"


def _series(draw: random.Random, plan: Plan, patient: int, study: str, series: str) -> Iterator[tuple[str, bytes]]:
    count, step = draw.randint(8, 16), draw.choice([0.5, 1.0, 1.25, 2.0])
    parts = draw.choice([1, 1, 2])
    tell = draw.choice(sorted(_TELLS))
    shift = draw.choice([0, 0, 0.3, 0.5]) * step
    top, kind = 100 - draw.randint(0, 9) * step, draw.choice(["axial"] * 6 + ["sagittal", "localizer", "mr"])
    frames = draw.choice(["one", "none", "each", "alternating"])
    number = 0
    for part in range(parts):
        first = plan.owner(patient, study, series, part)
        lost = draw.randint(2, count - 3) if draw.random() < 0.4 else -1
        for index in range(count):
            number += 1
            if index == lost:
                continue
            made = _slice(draw, patient, study, series, top - part * shift - index * step, number, first + index)
            made.elements |= _TELLS[tell](part) if parts == 2 else {}
            made.elements |= _frame_of_reference(frames, index)
            _make_kind(made, kind)
            yield f"{number:03d}{draw.choice(['', '.dcm'])}", made.encoded()


def _slice(draw: random.Random, patient: int, study: str, series: str, z: float, number: int, value: int) -> Slice:
    return Slice(
        {
            0x00080060: ("CS", b"CT"), 0x00100020: ("LO", f"P{patient}".encode()), 0x0020000D: ("UI", study.encode()),
            0x0020000E: ("UI", series.encode()), 0x00200013: ("IS", str(number).encode()),
            0x00200032: ("DS", f"0\\0\\{z:.6g}".encode()), 0x00200037: ("DS", b"1\\0\\0\\0\\1\\0"),
        },
        value,
    )  # fmt: skip


def _frame_of_reference(kind: str, index: int) -> dict[int, tuple[str, bytes]]:
    number = {"one": 1, "each": index + 1, "alternating": 1 + index % 2}.get(kind)
    return {} if number is None else {0x00200052: ("UI", f"1.3.{number}".encode())}


def _make_kind(made: Slice, kind: str) -> None:
    if kind == "sagittal":
        made.elements[0x00200037] = ("DS", b"0\\1\\0\\0\\0\\-1")
    elif kind == "localizer":
        made.elements[0x00080008] = ("CS", b"ORIGINAL\\PRIMARY\\LOCALIZER")
    elif kind == "mr":
        made.elements[0x00080060] = ("CS", b"MR")


def _strays(draw: random.Random, plan: Plan) -> None:
    folders = sorted({path.rpartition("/")[0] for path in plan.files})
    for number in range(draw.randint(0, 4)):
        folder = draw.choice([*folders, "VIEWER"])
        content = draw.choice([b"text", b"MZ\0\0", b"", next(iter(plan.files.values()))[:140], b"\0" * 128 + b"DICM"])
        plan.files[f"{folder}/stray{number}".lstrip("/")] = content
    if draw.random() < 0.3:
        plan.files["DICOMDIR"] = b"\0" * 128 + b"DICM"


def check_tree(seed: int, root: Path) -> Counter[str]:
    """Write the tree of a seed, read it, and say what came of its studies."""
    plan = plan_of(seed)
    for name, content in plan.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    tree = read_tree(root, allow_symlinks=False)
    accounted = [file.name for study in tree.studies for file in study.files] + list(tree.aside)
    assert sorted(accounted) == sorted(plan.files), "a file is not accounted for, or twice"
    found = {study.name: study for study in tree.studies}
    assert set(plan.patients) <= set(found), "a study is lost"
    assert all(name.startswith("folder-") for name in set(found) - set(plan.patients))
    outcomes: Counter[str] = Counter()
    for name, study in found.items():
        if name in plan.refused:
            assert study.code == plan.refused[name]
        outcomes[_check_study(plan, study, root)] += 1
    return outcomes


def _check_study(plan: Plan, study: TreeStudy, root: Path) -> str:
    if study.code:
        assert len(refused_rows(study, study.code)) == len(study.files)
        return study.code
    try:
        sources = open_candidates(root, list(study.files), for_the_neck)
        for source in sources:
            _check_volume(plan, study, source)
    except StudyRefused as refusal:
        return refusal.code.value
    return "read"


def _check_volume(plan: Plan, study: TreeStudy, source: StudySource) -> None:
    values = decode_study(source, _SETTINGS).full
    owners = {int(value) // _OWNERS for value in np.unique(values)}
    assert len(owners) == 1, "planes of several owners"
    owner = plan.owners[owners.pop()]
    assert owner[:2] == (plan.patients[study.name], study.name), "a voxel of another patient or study"
    assert owner[2] == source.grid.headers[0].series_uid, "a voxel of another series"
    assert np.ptp(values, axis=(1, 2)).max() == 0
    assert np.all(np.diff(values[:, 0, 0].astype(int)) >= 0), "planes are out of order"


def main() -> None:
    """Check as many trees as asked for, and print what came of their studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trees", type=int)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    outcomes: Counter[str] = Counter()
    for seed in range(args.first, args.first + args.trees):
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            try:
                outcomes += check_tree(seed, Path(folder))
            except AssertionError as error:
                raise SystemExit(f"tree {seed}: {error}") from error
    print(f"{args.trees} trees right:", ", ".join(f"{count} {name}" for name, count in outcomes.most_common()))


if __name__ == "__main__":
    main()
