"""What a crop's record keeps beside the arrays."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.data.crops.boxes import Box, LevelStatus
from spine_models.provenance.facts import Facts


@dataclass(frozen=True)
class NoCropFacts(Facts):
    """What a mask shows of each level: all that is known of a study without a usable vertebra, which has no crop.

    Attributes:
        boxes: of the visible and interpolated levels, on the half grid of the whole study; {} where there is no crop.
        voxels: of each level in the whole mask.
        levels: status of every level.
    """

    boxes: dict[str, Box]
    voxels: dict[str, int]
    levels: dict[str, LevelStatus]


@dataclass(frozen=True)
class CropFacts(NoCropFacts):
    """The levels of a crop, its place and its statistics.

    Attributes:
        origin: (z, y, x) of the image's first voxel on the full grid.
        mask_origin: (z, y, x) of the mask's first voxel on the half grid.
        half_factor: half pixels for each full pixel.
        mean: of the half volume in HU, for standardising.
        std: of the half volume in HU, above 0.
        raw_zero_hu: of the volume.
        spacing_mm: (z, y, x) of the full grid.
    """

    origin: tuple[int, int, int]
    mask_origin: tuple[int, int, int]
    half_factor: float
    mean: float
    std: float
    raw_zero_hu: float
    spacing_mm: tuple[float, float, float]
