"""A tiny data set in the formats that the trainings read, six studies in two folds, and how they are trained."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tiny import PLAIN, tiny, whole
from spine_models.data.crops.boxes import Box, box_from_json
from spine_models.data.crops.crop_facts import CropFacts, NoCropFacts
from spine_models.data.labels.onto_grid import LabelFacts
from spine_models.data.volume_facts import VolumeFacts
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.facts import Facts
from spine_models.provenance.files import write_text
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import write_array, write_record
from spine_models.provenance.vouched import vouch

STUDIES = tuple(f"1.2.{number}" for number in range(6))
SIDE = 32
SLICES = 24
MISSING = dict.fromkeys(LEVELS, "missing")

OVERLAY: dict[str, Any] = {
    "shards": 1,
    "crops": {"min_voxels": 16},
    "segmentation": {
        "training": {
            "micro_batch": 1,
            "draws_per_study": 2,
            "learning_rate": 1e-3,
            "max_skipped_steps": 2,
            "augmentation": {"rotate": 10.0},
        },
        "inference": {"window": 16, "z_multiple": 8},
    },
    "classification": {
        "training": {
            "global_batch": 4,
            "learning_rate": 1e-3,
            "max_skipped_steps": 2,
            "augmentation": {"shift": 0.1, "rotate": 10.0},
        },
        "variants": {"ip": {"draws_per_study": 6, "freeze_bn": False}},
    },
}
"""What the trainings on this data set change in the tiny configuration."""


@cache
def configuration() -> dict[str, Any]:
    """Return the whole configuration of the trainings on this data set."""
    return whole(tiny(PLAIN, OVERLAY))


def volume_facts(**known: Any) -> VolumeFacts:
    """Return facts of a volume of 8 slices; ``known`` replaces some of them."""
    affine = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    facts = {
        "shape": (8, 64, 64),
        "half_shape": (8, 32, 32),
        "half_inner_shape": (8, 32, 32),
        "half_factor": 0.5,
        "spacing_mm": (1.25, 0.6, 0.6),
        "affine_lps": affine,
        "half_affine_lps": affine,
        "slices": 8,
        "z_step": 1,
        "tilt_degrees": 0.0,
        "oblique_degrees": 0.0,
        "group": "",
        "frame_of_reference": "",
        "mean": -400.0,
        "std": 500.0,
        "raw_zero_hu": -1024.0,
        "notes": (),
    }
    return VolumeFacts(**{**facts, **known})


def write_segmentation_data(root: Path) -> None:
    """Write half volumes, labels and folds below ``root``."""
    shards: dict[str, dict[str, str]] = {"volumes_half": {}, "labels_half": {}}
    for number, study in enumerate(STUDIES):
        volume, label = _study(number)
        arrays = {"volumes_half": volume, "labels_half": label}
        facts = {
            "volumes_half": volume_facts(mean=float(volume.mean()), std=float(volume.std())),
            "labels_half": LabelFacts(dict.fromkeys(LEVELS, 0), ()),
        }
        for stage, array in arrays.items():
            shards[stage][study] = _record(root / stage / "0", study, {"": array}, facts[stage])
    for stage, studies in shards.items():
        write_manifest(root / stage / "0.json", studies, {})
    write_folds(root / "folds" / "segmentation.csv")


def write_classification_data(root: Path) -> None:
    """Write crops, ``train.csv`` and folds below ``root``; the last study shows no vertebra."""
    studies = {}
    rows = [",".join(("StudyInstanceUID", *TARGETS))]
    for number, study in enumerate(STUDIES):
        volume, label = _study(number)
        fractured = int(number % 2)
        rows.append(",".join([study, str(fractured), str(fractured), *["0"] * 6]))
        if number == len(STUDIES) - 1:
            studies[study] = _record(root / "crops" / "0", study, {}, NoCropFacts({}, {}, MISSING))
            continue
        shape = [slice(0, SLICES), slice(0, SIDE), slice(0, SIDE)]
        boxes = {level: _box(label == value) for value, level in enumerate(LEVELS, 1)}
        facts = CropFacts(
            origin=(0, 0, 0),
            mask_origin=(0, 0, 0),
            half_factor=1.0,
            mean=float(volume.mean()),
            std=float(volume.std()),
            raw_zero_hu=-1024.0,
            boxes=boxes,
            voxels={level: int((label == value).sum()) for value, level in enumerate(LEVELS, 1)},
            levels=dict.fromkeys(LEVELS, "visible"),
            spacing_mm=(1.0, 1.0, 1.0),
        )
        arrays = {"": volume[tuple(shape)], "_mask": label}
        studies[study] = _record(root / "crops" / "0", study, arrays, facts)
    write_manifest(root / "crops" / "0.json", studies, {})
    write_text(root / "train.csv", "\n".join(rows) + "\n")
    write_folds(root / "folds" / "classification.csv")


def write_folds(path: Path) -> None:
    rows = [f"{study},group-{study},{number // 3}" for number, study in enumerate(STUDIES)]
    write_text(path, "\n".join(["StudyInstanceUID,group,fold", *rows]) + "\n")
    vouch(path, Key("make_folds", {}, {}, "code"))


def _record(folder: Path, study: str, arrays: dict[str, Any], facts: Facts) -> str:
    files = {f"{study}{suffix}.npy": write_array(folder / f"{study}{suffix}.npy", a) for suffix, a in arrays.items()}
    return write_record(folder / f"{study}.json", Key("make_crops", {}, {}, "code"), files, facts.to_json()).digest


def _study(number: int) -> tuple[Any, Any]:
    """Return a volume of seven slabs of rising density, and their labels."""
    random = np.random.default_rng(number)
    label = np.zeros((SLICES, SIDE, SIDE), np.uint8)
    for value in range(1, 8):
        label[3 * value : 3 * value + 3, 8:24, 8:24] = value
    volume = np.where(label > 0, 200 + 50 * label.astype(np.int16), -200) + random.normal(0, 20, label.shape)
    return volume.astype(np.int16), label


def _box(inside: Any) -> Box:
    bounds = []
    for axis in range(3):
        along = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        bounds += [int(along[0]), int(along[-1]) + 1]
    return box_from_json(bounds)
