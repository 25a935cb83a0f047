"""Is a predicted study one that the networks can answer for: a neck, in the order and the sizes of a neck, in CT.

Each rule has a number and says what it saw. Limits are generous, since what is called implausible is no answer: of the
160 phantoms of the demo, predicted out of fold, one is (docs/ingest.md has the table).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.mask_facts import FlagCode, MaskFacts

_MOST_SMALL = 2
"""Levels that may be smaller than a vertebra: where a network misses a part of one."""
_LEAST_LEVELS = 2
"""One level alone cannot be told from its neighbours."""
_BONE_HU = (100.0, 1200.0)
"""Mean of the voxels that are called vertebra. Vertebrae of adults are 150 to 500 HU, those of phantoms 450 to 610."""
_AIR_HU, _LEAST_AIR = -500, 0.001
"""Below this is air, and at least this part of a neck is: its airway, and what surrounds it."""


def implausible(shown: MaskFacts, half: NDArray[np.int16], mask: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return a sentence for each reason why a study is no answer; none where it looks like a neck.

    Args:
        shown: what the mask shows, and its flags.
        half: (z, y, x) HU on the half grid.
        mask: the same shape, uint8 levels.
    """
    reasons = []
    if (half < _AIR_HU).mean() < _LEAST_AIR:
        reasons.append(f"less than {_LEAST_AIR:.1%} of the volume is air: not a CT of a neck, or not Hounsfield units")
    visible = [level for level, state in shown.levels.items() if state == "visible"]
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
    found = {code: [flag.sentence for flag in shown.flags if flag.code == code] for code in FlagCode}
    reasons += [*found[FlagCode.OUT_OF_ORDER], *found[FlagCode.TOO_LARGE]]
    if len(found[FlagCode.TOO_SMALL]) > _MOST_SMALL:
        reasons += found[FlagCode.TOO_SMALL]
    return tuple(reasons)
