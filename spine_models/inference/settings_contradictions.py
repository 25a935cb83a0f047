"""Settings of a prediction that cannot both hold, in the configuration or in a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spine_models.hounsfield import AIR_HU
from spine_models.schema_check import shown


def settings_contradictions(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every pair of keys in the settings of a bundle that cannot both hold."""
    yield from limit_contradictions(settings.get("hu_limits"))
    yield from window_contradictions("inference", settings["inference"])


def limit_contradictions(limits: Sequence[int] | None) -> Iterator[str]:
    """Yield a sentence if air is not between the limits of Hounsfield units."""
    if limits is not None and not limits[0] < AIR_HU < limits[1]:
        yield f"hu_limits is {shown(limits)}, but must hold {AIR_HU} (air, which fills what is missing) between its two"


def window_contradictions(path: str, part: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each pair of a sliding window's keys that cannot both hold.

    Args:
        path: dotted name of the group.
        part: its keys: window, overlap and, for masks, z_multiple.
    """
    if part["overlap"] >= part["window"]:
        yield (f"{path}.overlap is {part['overlap']}, but must be below {path}.window, which is {part['window']}")
    if part["window"] % part.get("z_multiple", 1):
        yield (
            f"{path}.window is {part['window']}, but must be a multiple of {path}.z_multiple, which is "
            f"{part['z_multiple']}"
        )
