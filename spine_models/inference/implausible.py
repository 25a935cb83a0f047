"""Is a predicted study one that the networks can answer for: a neck, in the order and the sizes of a neck, in CT.

Limits are generous, since what is called implausible is no answer; docs/ingest.md has the rules and how often phantoms
are called so. Small patches that a network calls by the name of a level that is elsewhere, or not in the scan at all,
are no reason: levels count that hold a fair part of a vertebra.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.boxes import box_slices
from spine_models.data.crops.mask_facts import FlagCode, MaskFacts
from spine_models.hounsfield import AIR_HU
from spine_models.levels import LEVELS

_FAIR_PART = 0.35
"""Of the median number of voxels of the visible levels: a level with fewer is a patch, or cut by the scan's end."""
_MOST_SMALL = 2
"""Levels that may be smaller than a vertebra: where a network misses a part of one."""
_LEAST_LEVELS = 2
"""One level alone cannot be told from its neighbours."""
_BONE_HU = (100.0, 1200.0)
"""Mean of the voxels that are called vertebra. Vertebrae of adults are 150 to 500 HU, those of phantoms 450 to 610."""
_AIR_LIMITS_HU, _LEAST_AIR = (-1010, -700), 0.001
"""Between these is air, and at least this part of a neck is: its airway, and what surrounds it. What scanners write
outside their circle is below, and what fills padding (``AIR_HU``) does not count."""
_AIR_MEDIAN_HU, _NOT_TISSUE_HU = -700.0, -300
"""Median of what is darker than any tissue, lung apart: air. Where values are scaled, that is no longer near -1000."""
_LEAST_FOR_TURN, _SKEWNESS_MARGIN = 3, 0.1
"""Fair levels that say together how the slices are turned, and by how much more their tails lie to a side than to the
back. Of 120 phantoms whose masks were predicted the tail to the back was larger by 0.28 to 0.97."""


def implausible(shown: MaskFacts, half: NDArray[np.int16], mask: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return a sentence for each reason why a study is no answer; none where it looks like a neck.

    Args:
        shown: what the mask shows, and its flags.
        half: (z, y, x) HU on the half grid.
        mask: the same shape, uint8 levels.
    """
    reasons = []
    dark = half[(half > _AIR_LIMITS_HU[0]) & (half < _NOT_TISSUE_HU) & (half != AIR_HU)]
    if (dark < _AIR_LIMITS_HU[1]).sum() < _LEAST_AIR * half.size:
        reasons.append(f"less than {_LEAST_AIR:.1%} of the volume is air: not a CT of a neck, or not Hounsfield units")
    elif float(np.median(dark)) > _AIR_MEDIAN_HU:
        reasons.append(
            f"what is darker than tissue has a median of {np.median(dark):.0f} HU, where air has -1000: the values are "
            "not Hounsfield units"
        )
    visible = [level for level in LEVELS if shown.levels[level] == "visible"]
    if not visible:
        return tuple(reasons)
    mean = float(half[mask > 0].mean())
    if not _BONE_HU[0] <= mean <= _BONE_HU[1]:
        reasons.append(
            f"what is called vertebra has a mean of {mean:.0f} HU, where {_BONE_HU[0]:.0f} to {_BONE_HU[1]:.0f} are "
            "expected"
        )
    if len(visible) < _LEAST_LEVELS:
        reasons.append(f"only {visible[0]} is visible: one level alone cannot be told from its neighbours")
    least = _FAIR_PART * float(np.median([shown.voxels[level] for level in visible]))
    fair = [level for level in visible if shown.voxels[level] >= least]
    centres = {level: _centre_slice(shown, mask, level) for level in fair}
    reasons += [
        f"the centre of {lower} does not lie below that of {upper}"
        for upper, lower in itertools.pairwise(fair)
        if centres[lower] <= centres[upper]
    ]
    if len(fair) >= _LEAST_FOR_TURN and _tail_is_not_behind(shown, mask, fair):
        reasons.append(
            "the vertebrae do not reach further to the back than to the sides: the slices are turned, or these are none"
        )
    sizes = {
        code: [flag.sentence for flag in shown.flags if flag.code == code and flag.level in fair]
        for code in (FlagCode.TOO_LARGE, FlagCode.TOO_SMALL)
    }
    reasons += sizes[FlagCode.TOO_LARGE]
    if len(sizes[FlagCode.TOO_SMALL]) > _MOST_SMALL:
        reasons += sizes[FlagCode.TOO_SMALL]
    return tuple(reasons)


def _centre_slice(shown: MaskFacts, mask: NDArray[np.uint8], level: str) -> float:
    counts = (mask[box_slices(shown.boxes[level])] == LEVELS.index(level) + 1).sum(axis=(1, 2))
    return float(np.average(np.arange(len(counts)), weights=counts)) + shown.boxes[level][0]


def _tail_is_not_behind(shown: MaskFacts, mask: NDArray[np.uint8], levels: list[str]) -> bool:
    """Say whether levels are less skewed towards the back than to a side.

    A vertebra is as good as symmetric from right to left, and from front to back it is not: the body is in front, the
    spinous process behind. The skewness (third standardised moment) of the voxels' places says so for every grid whose
    pixels are square.
    """
    both = np.mean(
        [_skewness(mask[box_slices(shown.boxes[level])] == LEVELS.index(level) + 1) for level in levels], axis=0
    )
    return bool(both[0] < abs(both[1]) - _SKEWNESS_MARGIN)


def _skewness(voxels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the skewness along y (positive: a tail to the back) and along x."""
    places = np.argwhere(voxels)[:, 1:].astype(np.float64)
    places -= places.mean(axis=0)
    spread = np.maximum((places**2).mean(axis=0), 1e-9)
    skewness: NDArray[np.float64] = (places**3).mean(axis=0) / spread**1.5
    return skewness
