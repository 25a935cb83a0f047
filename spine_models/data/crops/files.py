"""The stored crops, opened as memory maps."""

from __future__ import annotations

from typing import Any

from spine_models.data.crops.boxes import box_from_json
from spine_models.data.crops.crop import SpineCrop
from spine_models.provenance.shelf import Shelf


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
