"""The stored crops, opened as memory maps."""

from __future__ import annotations

from dataclasses import fields

from spine_models.data.crops.crop import SpineCrop
from spine_models.data.crops.crop_facts import CropFacts, NoCropFacts
from spine_models.provenance.shelf import Shelf


def open_crop(crops: Shelf, study: str) -> SpineCrop | None:
    """Open the stored crop of ``study`` as memory maps, or return None if it shows no usable vertebra."""
    if not crops.record(study).files:
        return None
    facts = crops.facts(study, CropFacts)
    return SpineCrop(image=crops.array(study), mask=crops.array(study, "_mask"), **vars(facts))


def stored_facts(crops: Shelf, study: str) -> NoCropFacts:
    """Return what is known of the levels of ``study``, whether it has a crop or not."""
    return crops.facts(study, CropFacts if crops.record(study).files else NoCropFacts)


def crop_facts(crop: SpineCrop) -> CropFacts:
    """Return what a record keeps of a crop besides its two arrays."""
    return CropFacts(**{field.name: getattr(crop, field.name) for field in fields(CropFacts)})
