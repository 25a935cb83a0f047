"""Is a study like those that a bundle's networks learnt from, in spacing, extent and intensities."""

from __future__ import annotations

from collections.abc import Iterator

from spine_models.data.training_facts import MEASURES, TrainingFacts, measures_of
from spine_models.data.volume_facts import VolumeFacts

_LOW, _HIGH = 1, 3
"""Which quantiles are the range of what was learnt from: the 1st and the 99th percentile."""
_FACTOR = 1.5
"""So far beyond the range may a length be: trainings scale crops by some 10 %, and a vertebra of 1.5 times the voxels
along an axis still looks like one. A number of ours, not measured on patients."""
_LEAST_ROOM_HU = 150.0
"""Beyond the range of means and deviations at least; as much as the range is wide, where that is more."""
_LENGTHS = {
    "step_mm": "slices that are {:.2f} mm apart",
    "pixel_mm": "pixels of {:.2f} mm",
    "height_mm": "a scan {:.0f} mm tall",
    "width_mm": "slices {:.0f} mm wide",
}
_INTENSITIES = {"mean_hu": "a mean of {:.0f} HU", "std_hu": "a standard deviation of {:.0f} HU"}
_WORDS = _LENGTHS | _INTENSITIES


def beyond_training(volume: VolumeFacts, learnt: TrainingFacts | None) -> tuple[str, ...]:
    """Return a sentence for each measure of a study that lies outside of what the networks learnt from.

    A scan that is less tall is no reason: a part of a neck is answered with the levels that it shows.

    Args:
        volume: of the study.
        learnt: of the bundle; None where it does not say.
    """
    return () if learnt is None else tuple(_reasons(volume, learnt))


def _reasons(volume: VolumeFacts, learnt: TrainingFacts) -> Iterator[str]:
    found = measures_of(volume)
    for name in MEASURES:
        low, high = learnt.measures[name][_LOW], learnt.measures[name][_HIGH]
        least, most = _room(name, low, high)
        if not least <= found[name] <= most:
            unit = "HU" if name in _INTENSITIES else "mm"
            yield f"it has {_WORDS[name].format(found[name])}; the networks learnt from {low:g} to {high:g} {unit}"


def _room(name: str, low: float, high: float) -> tuple[float, float]:
    if name in _INTENSITIES:
        room = max(_LEAST_ROOM_HU, high - low)
        return low - room, high + room
    return (0.0 if name == "height_mm" else low / _FACTOR), high * _FACTOR
