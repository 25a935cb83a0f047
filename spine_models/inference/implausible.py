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


def implausible(shown: MaskFacts, half: NDArray[np.int16], mask: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return a sentence for each reason why a study is no answer; none where it looks like a neck.

    Args:
        shown: what the mask shows, and its flags.
        half: (z, y, x) HU on the half grid.
        mask: the same shape, uint8 levels.
    """
    reasons = []
    if ((half > _AIR_LIMITS_HU[0]) & (half < _AIR_LIMITS_HU[1]) & (half != AIR_HU)).mean() < _LEAST_AIR:
        reasons.append(f"less than {_LEAST_AIR:.1%} of the volume is air: not a CT of a neck, or not Hounsfield units")
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
