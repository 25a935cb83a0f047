"""The stored crops: made from volumes and masks, opened as memory maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spine_models.data.boxes import box_from_json
from spine_models.data.crops import CropSettings, SpineCrop, spine_crop
from spine_models.data.shelf import Shelf, remove_strangers
from spine_models.errors import UserError
from spine_models.provenance.canonical import work_key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import Record, find_record, write_array, write_record
from spine_models.provenance.settings import settings_from


def make_crops(*, volumes: Path, half: Path, masks: Path, out: Path, config: Mapping[str, Any], code: str) -> list[str]:
    """Store the crop of every study of a shard; memory holds one study at a time.

    Args:
        volumes: manifest of the full-size volumes.
        half: manifest of the half-size volumes, for their facts.
        masks: manifest of the masks; its studies are the ones to crop.
        out: manifest to write; the crops lie beside it.
        config: ``{"crops": {...}}``.
        code: fingerprint of the code.

    Returns:
        The studies that show no usable vertebra. They get a record without an array, and the prior as prediction.
    """
    settings = settings_from(CropSettings, config["crops"])
    stages = {"volume": Shelf([volumes]), "half": Shelf([half]), "mask": Shelf([masks])}
    folder = out.with_suffix("")
    made: dict[str, Record] = {}
    with folder_lock(folder):
        for study in stages["mask"].studies:
            key = work_key("make_crops", {name: shelf.digest(study) for name, shelf in stages.items()}, config, code)
            path = folder / f"{study}.json"
            made[study] = find_record(path, key) or _make_crop(path, key, study, stages, settings)
        remove_strangers(folder, made)
        write_manifest(out, {study: record.digest for study, record in made.items()}, {})
    return [study for study, record in made.items() if not record.files]


def open_crop(crops: Shelf, study: str) -> SpineCrop | None:
    """Open the stored crop of ``study`` as memory maps, or return None if it shows no usable vertebra."""
    record = crops.record(study)
    if not record.files:
        return None
    facts = record.facts
    boxes = {level: box_from_json(box) for level, box in facts["boxes"].items()}
    tuples = {name: tuple(facts[name]) for name in ("origin", "mask_origin", "spacing_mm")}
    image, mask = crops.array(study), crops.array(study, "_mask")
    return SpineCrop(image=image, mask=mask, **{**facts, **tuples, "boxes": boxes})


def crop_facts(crop: SpineCrop) -> dict[str, Any]:
    """Return what a record keeps of a crop besides its two arrays, as JSON values."""
    facts = {name: value for name, value in vars(crop).items() if name not in ("image", "mask")}
    facts["boxes"] = {level: list(box) for level, box in crop.boxes.items()}
    return facts | {name: list(facts[name]) for name in ("origin", "mask_origin", "spacing_mm")}


def _make_crop(path: Path, key: str, study: str, stages: Mapping[str, Shelf], settings: CropSettings) -> Record:
    volume, mask = stages["volume"].array(study), stages["mask"].array(study)
    mask_facts = stages["mask"].record(study).facts
    if volume.shape[0] != mask.shape[0]:
        raise UserError(
            f"mask of study {study} has {mask.shape[0]} slices and its volume {volume.shape[0]}: "
            "run the rules convert_volumes and infer_masks again"
        )
    crop = spine_crop(volume, mask, stages["half"].record(study).facts, mask_facts, settings)
    places = {"image": path.with_name(f"{study}.npy"), "mask": path.with_name(f"{study}_mask.npy")}
    if crop is None:
        for place in places.values():
            place.unlink(missing_ok=True)
        facts = {"boxes": {}, "voxels": mask_facts["voxels"], "levels": mask_facts["levels"]}
        return write_record(path, key, {}, facts)
    files = {place.name: write_array(place, getattr(crop, name)) for name, place in places.items()}
    return write_record(path, key, files, crop_facts(crop))
