"""Facts of a volume for tests that need only some of them."""

from typing import Any

from spine_models.data.volume_facts import VolumeFacts

_ROWS = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def volume_facts(**changes: Any) -> VolumeFacts:
    """Return facts of a volume like those of the challenge, with changes."""
    known: dict[str, Any] = {
        "shape": (150, 512, 512),
        "half_shape": (150, 256, 256),
        "half_inner_shape": (150, 256, 256),
        "half_factor": 0.5,
        "spacing_mm": (1.25, 0.35, 0.35),
        "affine_lps": _ROWS,
        "half_affine_lps": _ROWS,
        "slices": 300,
        "z_step": 2,
        "tilt_degrees": 0.0,
        "oblique_degrees": 0.0,
        "group": "",
        "frame_of_reference": "",
        "mean": -400.0,
        "std": 500.0,
        "raw_zero_hu": -1024.0,
        "notes": (),
    }
    return VolumeFacts(**{**known, **changes})
