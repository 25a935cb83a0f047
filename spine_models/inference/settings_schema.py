"""What the settings of a prediction may be: one schema for the configuration and for what a bundle holds."""

from __future__ import annotations

from typing import Any

from spine_models.schema_check import complaint

Schema = dict[str, Any]

_COUNT: Schema = {"type": "integer", "minimum": 1}
_AMOUNT: Schema = {"type": "integer", "minimum": 0}
_FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SWITCH: Schema = {"type": "boolean"}
_SLICES: Schema = {"type": "integer", "minimum": 8, "maximum": 4096, "multipleOf": 8}
_Z_FILL: Schema = {"type": "string", "enum": ["air", "mean"]}
_FLIPS: Schema = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"type": "string", "enum": ["none", "horizontal"]},
}


def _group(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


_SECTIONS: dict[str, Schema] = {
    "z_step": {"type": "integer", "minimum": 1, "maximum": 64},
    "half_size": {"type": "integer", "minimum": 32, "maximum": 2048, "multipleOf": 32},
    "hu_limits": {
        "type": ["array", "null"],
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": "integer", "minimum": -32768, "maximum": 32767},
    },
    "crops": _group(
        margin={**_AMOUNT, "maximum": 2048, "description": "Half-size pixels around the box of a vertebra."},
        depth={"type": "integer", "minimum": 8, "maximum": 1024, "description": "Slices of a crop."},
        size={"type": "integer", "minimum": 32, "maximum": 2048, "description": "Side of a crop (pixels)."},
        min_voxels={**_AMOUNT, "description": "Vertebrae with fewer voxels are not trained on."},
        visible_fraction={**_FRACTION, "description": "A vertebra that shows less gets label 0."},
        clamp_start={**_SWITCH, "description": "No validation window begins before the volume."},
        plane_fill={"type": "string", "enum": ["air", "raw_zero"], "description": "Beside an image in its crop."},
        z_fill={**_Z_FILL, "description": "Slices beyond the volume."},
    ),
    "plausibility": _group(
        min_component_fraction={**_FRACTION, "description": "Smaller components are removed."},
        fallback={"type": "string", "enum": ["neighbours", "none"], "description": "What replaces a missing level."},
        stray_mm={
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 100000,
            "description": "Distance beyond which a part does not stretch its box.",
        },
    ),
    "inference": _group(
        window={**_SLICES, "description": "Slices of a window."},
        overlap={**_AMOUNT, "description": "Slices that neighbouring windows share."},
        z_multiple={**_SLICES, "description": "z is padded to a multiple of this."},
        batch={"type": "integer", "minimum": 1, "maximum": 256, "description": "Windows at once."},
        z_fill={**_Z_FILL, "description": "Of the padding."},
        flips={**_FLIPS, "description": "Of each window, probabilities averaged."},
    ),
    "crop_inference": _group(flips={**_FLIPS, "description": "Of each crop, probabilities averaged."}),
}
DEFINITIONS: dict[str, Schema] = {
    "count": _COUNT,
    "amount": _AMOUNT,
    "fraction": _FRACTION,
    "switch": _SWITCH,
    "slices": _SLICES,
    "z_fill": _Z_FILL,
    "flips": _FLIPS,
    **_SECTIONS,
}
"""Name in ``$defs`` of the configuration's schema to what it stands for."""

_YOUNGER = {
    "crops": ("clamp_start", "plane_fill", "z_fill"),
    "plausibility": ("stray_mm",),
    "inference": ("z_fill", "flips"),
    "crop_inference": ("flips",),
}
"""Keys that bundles of earlier checkouts lack; the dataclasses of the settings have their defaults."""


def settings_complaint(settings: Any) -> str | None:
    """Return a sentence on the first thing that is wrong in the settings of a bundle, or None.

    Args:
        settings: ``settings`` of a ``bundle.json``, as ``json`` read it.
    """
    sections = {name: dict(section) for name, section in _SECTIONS.items()}
    for name, younger in _YOUNGER.items():
        sections[name]["required"] = [key for key in sections[name]["required"] if key not in younger]
    clip = {"type": "string", "enum": ["models", "mean"]}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["z_step", "half_size", "crops", "plausibility", "inference"],
        "properties": {**sections, "clip": clip},
    }
    return complaint(settings, schema)
