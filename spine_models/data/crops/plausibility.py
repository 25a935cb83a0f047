"""Is what a predicted mask calls C1 to C7 plausible as a spine, and what stands in for a level that it lacks.

Nothing here refuses a study: what looks wrong is flagged for the manifest and the report.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.boxes import Box, LevelStatus, box_from_json, box_slices, level_voxels
from spine_models.data.crops.components import STRAY_MM, without_small_components
from spine_models.data.crops.mask_facts import Flag, FlagCode, MaskFacts
from spine_models.levels import LEVELS

_PLAUSIBLE_MM: tuple[tuple[str, float, float], ...] = (
    ("high", 15.0, 75.0),
    ("deep", 15.0, 110.0),
    ("wide", 20.0, 120.0),
)
"""Least and largest size of a level along z, y and x. The 609 vertebrae of the challenge's segmented studies are 20 to
64 mm high, spinous process included; the limits along y and x are generous ones around the anatomy of adults."""


@dataclass(frozen=True)
class PlausibilitySettings:
    """Section ``plausibility`` of the configuration.

    Attributes:
        min_component_fraction: components smaller than this part of a level's largest are removed.
        fallback: "neighbours" interpolates the box of a missing level between visible ones, "none" leaves it out.
        stray_mm: parts of a level further than this from its largest part are not part of its box; None: all are.
    """

    min_component_fraction: float
    fallback: Literal["neighbours", "none"]
    stray_mm: float | None = STRAY_MM


def check_mask(
    mask: NDArray[np.uint8], spacing_mm: Sequence[float], settings: PlausibilitySettings
) -> tuple[NDArray[np.uint8], MaskFacts]:
    """Remove small components of a predicted mask and check what is left.

    A stray part far from the rest of its level is flagged, but is not part of the level's box: it would stretch the
    crop, and with it shrink the vertebra in it.

    Args:
        mask: (z, y, x), z from superior to inferior; voxel label ``i + 1`` for ``LEVELS[i]``.
        spacing_mm: (z, y, x) of the mask's grid.
        settings: the configuration.

    Returns:
        The mask without its small components, and what it shows.
    """
    fraction, stray_mm = settings.min_component_fraction, settings.stray_mm
    mask, found, components = without_small_components(mask, spacing_mm, fraction, stray_mm)
    flags = [
        *_component_flags(components),
        *_order_flags(mask, found),
        *_size_flags(found, spacing_mm, mask.shape[0]),
        *_gap_flags(found),
    ]
    levels: dict[str, LevelStatus] = {level: "visible" if level in found else "missing" for level in LEVELS}
    boxes = dict(found)
    if settings.fallback == "neighbours":
        for level, (box, above, below) in _interpolated(found).items():
            boxes[level], levels[level] = box, "interpolated"
            sentence = f"the box of {level} was interpolated between {above} and {below}"
            flags.append(Flag(FlagCode.INTERPOLATED, level, sentence))
    if not found:
        flags.append(Flag(FlagCode.NO_LEVEL, "", "the mask shows no vertebra"))
    return mask, MaskFacts(levels, boxes, level_voxels(mask), tuple(flags))


def _component_flags(components: Mapping[str, int]) -> list[Flag]:
    return [
        Flag(FlagCode.SEVERAL_COMPONENTS, level, f"{level} consists of {count} parts that do not touch")
        for level, count in components.items()
        if count > 1
    ]


def _order_flags(mask: NDArray[np.uint8], boxes: Mapping[str, Box]) -> list[Flag]:
    centres = {level: _centre_slice(mask, level, box) for level, box in boxes.items()}
    return [
        Flag(FlagCode.OUT_OF_ORDER, lower, f"the centre of {lower} does not lie below that of {upper}")
        for upper, lower in itertools.pairwise(centres)
        if centres[lower] <= centres[upper]
    ]


def _centre_slice(mask: NDArray[np.uint8], level: str, box: Box) -> float:
    counts = (mask[box_slices(box)] == LEVELS.index(level) + 1).sum(axis=(1, 2))
    return float(np.average(np.arange(box[0], box[1]), weights=counts))


def _size_flags(boxes: Mapping[str, Box], spacing_mm: Sequence[float], slices: int) -> list[Flag]:
    flags = []
    for level, box in boxes.items():
        is_cut = box[0] == 0 or box[1] == slices
        if is_cut:
            flags.append(Flag(FlagCode.CUT_OFF, level, f"{level} touches the end of the volume"))
        for axis, (word, least, largest) in enumerate(_PLAUSIBLE_MM):
            size = (box[2 * axis + 1] - box[2 * axis]) * spacing_mm[axis]
            expected = f"{level} is {size:.0f} mm {word}, where {least:.0f} to {largest:.0f} mm are expected"
            if size > largest:
                flags.append(Flag(FlagCode.TOO_LARGE, level, expected))
            elif size < least and not is_cut:
                flags.append(Flag(FlagCode.TOO_SMALL, level, expected))
    return flags


def _gap_flags(boxes: Mapping[str, Box]) -> list[Flag]:
    return [
        Flag(FlagCode.GAP, level, f"{level} is missing, although {above} and {below} are visible")
        for level, (above, below) in _between(boxes).items()
    ]


def _interpolated(boxes: Mapping[str, Box]) -> dict[str, tuple[Box, str, str]]:
    """Interpolate the box of each level that is missing between visible ones, linearly over the levels."""
    result = {}
    for level, (above, below) in _between(boxes).items():
        first, last = LEVELS.index(above), LEVELS.index(below)
        weight = (LEVELS.index(level) - first) / (last - first)
        edges = [a + weight * (b - a) for a, b in zip(boxes[above], boxes[below], strict=True)]
        result[level] = (box_from_json([math.floor(edge + 0.5) for edge in edges]), above, below)
    return result


def _between(boxes: Mapping[str, Box]) -> dict[str, tuple[str, str]]:
    """Return the nearest visible levels above and below each level that is missing between two."""
    result = {}
    for i, level in enumerate(LEVELS):
        above = [name for name in LEVELS[:i] if name in boxes]
        below = [name for name in LEVELS[i + 1 :] if name in boxes]
        if level not in boxes and above and below:
            result[level] = (above[-1], below[0])
    return result
