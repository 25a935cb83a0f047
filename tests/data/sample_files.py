"""Small shards on disk, written the way the stages write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.tiny_data import volume_facts
from spine_models.data.crops.boxes import level_boxes, level_voxels
from spine_models.data.crops.crop import CropSettings
from spine_models.data.crops.mask_facts import MaskFacts
from spine_models.data.dicom.study import VolumeSettings
from spine_models.data.stages.make_crops import CropInputs, make_crops
from spine_models.levels import LEVELS
from spine_models.provenance.facts import Facts
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import write_array, write_record
from spine_models.provenance.shelf import Shelf

CROPS = {"margin": 4, "depth": 12, "size": 32, "min_voxels": 20, "visible_fraction": 0.3}


def write_stage(folder: Path, stage: str, arrays: dict[str, np.ndarray], facts: Mapping[str, Facts]) -> Path:
    """Write one shard of a stage and return its manifest."""
    manifest = folder / stage / "0.json"
    digests = {}
    for study, array in arrays.items():
        path = manifest.with_suffix("") / f"{study}.npy"
        files = {path.name: write_array(path, array)}
        key = Key("make_crops", {}, {}, "code")
        digests[study] = write_record(path.with_suffix(".json"), key, files, facts[study].to_json()).digest
    write_manifest(manifest, digests, {})
    return manifest


def spine_mask(depth: int = 60, side: int = 32, height: int = 8, levels: tuple[str, ...] = LEVELS) -> np.ndarray:
    """Return a mask with a block of 8 x 8 pixels and ``height`` slices for each level, from slice 2 on."""
    mask = np.zeros((depth, side, side), np.uint8)
    for i, level in enumerate(LEVELS):
        if level in levels:
            mask[2 + i * height : 2 + (i + 1) * height, 10:18, 12:20] = i + 1
    return mask


def mask_facts(mask: np.ndarray, **statuses: str) -> MaskFacts:
    """Return the facts of a mask's record; ``statuses`` override those of single levels."""
    boxes = level_boxes(mask)
    levels = {level: "visible" if level in boxes else "missing" for level in LEVELS} | statuses
    return MaskFacts(levels, boxes, level_voxels(mask), flags=())


def crop_shelf(
    folder: Path, masks: dict[str, np.ndarray], seed: int = 0, settings: CropSettings | None = None
) -> Shelf:
    """Write volumes of noise, make the crops of ``masks`` and return them."""
    rng = np.random.default_rng(seed)
    full = {
        study: rng.integers(-1000, 1500, (mask.shape[0], 2 * mask.shape[1], 2 * mask.shape[2])).astype(np.int16)
        for study, mask in masks.items()
    }
    facts = {study: volume_facts() for study in masks}
    out = folder / "crops" / "0.json"
    inputs = CropInputs(
        dataset=folder / "set",
        volumes=write_stage(folder, "volumes", full, facts),
        half=write_stage(folder, "volumes_half", {s: f[:, ::2, ::2] for s, f in full.items()}, facts),
        masks=write_stage(folder, "masks", masks, {s: mask_facts(mask) for s, mask in masks.items()}),
    )
    make_crops(inputs, VolumeSettings(), settings or CropSettings(**CROPS), code="code", out=out)
    return Shelf([out])
