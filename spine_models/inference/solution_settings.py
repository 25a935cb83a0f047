"""How the published solution's author predicts, and how this pipeline does; ``docs/published.md`` explains both."""

from __future__ import annotations

from typing import Any

from spine_models.levels import TARGETS

OUR_SETTINGS: dict[str, Any] = {
    "z_step": 2,
    "half_size": 256,
    "hu_limits": [-1024, 3071],
    "crops": {
        "margin": 16,
        "depth": 40,
        "size": 256,
        "min_voxels": 512,
        "visible_fraction": 0.3,
        "clamp_start": False,
        "plane_fill": "air",
        "z_fill": "air",
    },
    "plausibility": {"min_component_fraction": 0.1, "fallback": "neighbours", "stray_mm": 15.0},
    "inference": {"window": 384, "overlap": 128, "z_multiple": 32, "batch": 1, "z_fill": "air", "flips": ["none"]},
    "crop_inference": {"flips": ["none"]},
}
"""The defaults of ``config.yaml``."""

AUTHORS_SETTINGS: dict[str, Any] = OUR_SETTINGS | {
    "hu_limits": None,
    "crops": OUR_SETTINGS["crops"] | {"min_voxels": 1, "clamp_start": True, "plane_fill": "raw_zero", "z_fill": "mean"},
    "plausibility": {"min_component_fraction": 0.0, "fallback": "none", "stray_mm": None},
    "inference": OUR_SETTINGS["inference"] | {"z_fill": "mean"},
    "crop_inference": {"flips": ["none", "horizontal"]},
    "clip": "mean",
}
"""What belongs to the published weights: they were trained and judged with it (method, published checkpoints)."""

PUBLISHED_PRIOR = dict(zip(TARGETS, (0.5285, 0.1004, 0.1913, 0.0514, 0.0748, 0.1103, 0.1831, 0.2552), strict=True))
"""Best constant prediction on the 2,008 studies of the published fold table (method, published checkpoints)."""
