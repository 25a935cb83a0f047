"""What a bundle's networks learnt from, in numbers that name nobody.

Imported while Snakemake parses the workflow: numpy is imported where it is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from spine_models.data.volume_facts import VolumeFacts
from spine_models.provenance.facts import Facts

QUANTILES = (0.0, 0.01, 0.5, 0.99, 1.0)
"""Of each measure, in this order."""
MEASURES = ("step_mm", "pixel_mm", "height_mm", "width_mm", "mean_hu", "std_hu")
"""Distance of the slices that are used, pixel spacing, extent from top to bottom, extent of a slice from side to side;
mean and standard deviation of a volume after ``hu_limits``, without padding."""
UNKNOWN_VENDOR = "not recorded"


@dataclass(frozen=True)
class TrainingFacts(Facts):
    """The volumes that a bundle's networks learnt from.

    Attributes:
        studies: how many.
        measures: each of ``MEASURES`` to its ``QUANTILES``.
        vendors: manufacturer of the scanner, as the files have it, to studies.
    """

    studies: int
    measures: dict[str, tuple[float, ...]]
    vendors: dict[str, int]


def measures_of(volume: VolumeFacts) -> dict[str, float]:
    """Return each of ``MEASURES`` of one volume."""
    slices, _, columns = volume.shape
    values = (
        volume.spacing_mm[0],
        volume.spacing_mm[1],
        slices * volume.spacing_mm[0],
        columns * volume.spacing_mm[2],
        volume.mean,
        volume.std,
    )
    return dict(zip(MEASURES, values, strict=True))


def training_facts(volumes: Iterable[VolumeFacts]) -> TrainingFacts | None:
    """Sum up volumes; None where there are none."""
    import numpy as np

    volumes = list(volumes)
    if not volumes:
        return None
    table = [measures_of(volume) for volume in volumes]
    measures = {
        name: tuple(round(float(value), 3) for value in np.quantile([row[name] for row in table], QUANTILES))
        for name in MEASURES
    }
    vendors = Counter(volume.manufacturer or UNKNOWN_VENDOR for volume in volumes)
    return TrainingFacts(len(volumes), measures, dict(sorted(vendors.items())))
