"""Is a predicted study one that the networks can answer for: a neck, in the order and the sizes of a neck, in CT.

Limits are generous, since what is called implausible is not an answer; docs/ingest.md has the rules and how often
phantoms are called so. Small patches that a network calls by the name of a level that is elsewhere, or not in the
scan at all, are not a reason: levels count that hold a fair part of a vertebra.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.boxes import box_slices
from spine_models.data.crops.mask_facts import FlagCode, MaskFacts
from spine_models.hounsfield import AIR_HU
from spine_models.inference.spine_shape import SpineShape, spine_shape
from spine_models.levels import LEVELS

_FAIR_PART = 0.35
"""Of the median number of voxels of the visible levels: a level with fewer is a patch, or cut by the scan's end."""
_LEAST_LEVELS = 2
"""One level alone cannot be told from its neighbours."""
_MOST_SMALL = 0.8
"""Of the levels: so many may be smaller than a vertebra, since networks miss parts of one where a scan ends."""
_HEIGHT_MM = (45, 400)
"""Of the scan. The 2,019 studies of the challenge are 49 to 334 mm tall."""
_BONE_HU = (100.0, 1200.0)
"""Mean of the voxels that are called vertebra. Vertebrae of adults are 150 to 500 HU, those of phantoms 450 to 610."""
_AIR_LIMITS_HU, _LEAST_AIR = (-1010, -700), 0.001
"""Between these is air, and at least this part of a neck is: its airway, and what surrounds it. What scanners write
outside their circle is below, and what fills padding (``AIR_HU``) does not count."""
_LIGHT_HU, _LEAST_AIR_OF_LIGHT = -300, 0.1
"""What is lighter than fat is air, lung or the edge of either: at least this part of it is air. Where values are half
of what they should be, none is."""
_BORDER_PIXELS = 2
"""So many pixels beside the scanner's circle are mixed with it."""
_SOFT_TISSUE_HU, _SOFT_TISSUE_AROUND_HU, _BIN_HU = (-130, 110), (-260, 260), 20
"""Fat is -120 to -60 HU, muscle 30 to 80: the most frequent value of soft tissue is one of them."""
_OUT_OF_ORDER_MM = 5.0
"""Names that change places by less, where a scan ends within a vertebra, are a matter of notes."""
_STEP_MM = (4.0, 40.0)
"""From one level to the next. Newborns have about 5 mm, adults 15 to 22 mm, phantoms 13 to 20 mm."""
_SMALL_STEP_MM = 12.0
"""Below this, an adult's levels have the wrong names, or too many."""
_SYMMETRY_MARGIN = 0.03
"""So much more alike are vertebrae with front and back exchanged than left and right, where a study is turned."""
_LEAST_FALL = -0.05
"""See ``SpineShape.fall``: 0.1 to 0.4 in phantoms, 0.05 to -0.35 where they stand on their head."""
_LEAST_TAIL = 0.001
"""See ``SpineShape.tail``: 0.4 to 1 in phantoms, 0 in a cylinder, 0.2 to -0.45 where front and back are exchanged."""


def implausible(
    shown: MaskFacts, half: NDArray[np.int16], mask: NDArray[np.uint8], spacing_mm: Sequence[float]
) -> tuple[str, ...]:
    """Return a sentence for each reason why a study is not an answer; none where it looks like a neck.

    Args:
        shown: what the mask shows, and its flags.
        half: (z, y, x) HU on the half grid.
        mask: the same shape, uint8 levels.
        spacing_mm: (z, y, x) of the half grid.
    """
    height = half.shape[0] * spacing_mm[0]
    reasons = [*_reasons_of_air(half), *_reasons_of_soft_tissue(half)]
    if not _HEIGHT_MM[0] <= height <= _HEIGHT_MM[1]:
        reasons.append(f"the scan is {height:.0f} mm tall, where {_HEIGHT_MM[0]} to {_HEIGHT_MM[1]} mm are expected")
    fair = fair_levels(shown)
    if not fair:
        return tuple(reasons)
    mean = float(half[mask > 0].mean())
    if not _BONE_HU[0] <= mean <= _BONE_HU[1]:
        reasons.append(
            f"what is called vertebra has a mean of {mean:.0f} HU, where {_BONE_HU[0]:.0f} to {_BONE_HU[1]:.0f} are "
            "expected"
        )
    if len(fair) < _LEAST_LEVELS:
        reasons.append(f"only {fair[0]} is visible: one level alone cannot be told from its neighbours")
    centres = {level: _centre_slice(shown, mask, level) * spacing_mm[0] for level in fair}
    reasons += [
        f"the centre of {lower} lies {centres[upper] - centres[lower]:.0f} mm above that of {upper}"
        for upper, lower in itertools.pairwise(fair)
        if centres[upper] - centres[lower] > _OUT_OF_ORDER_MM
    ]
    reasons += [flag.sentence for flag in shown.flags if flag.code == FlagCode.TOO_LARGE and flag.level in fair]
    small = [flag for flag in shown.flags if flag.code == FlagCode.TOO_SMALL and flag.level in fair]
    if len({flag.level for flag in small}) > _MOST_SMALL * len(fair):
        reasons += [flag.sentence for flag in small]
    reasons += _reasons_of_shape(spine_shape(half, mask, shown.boxes, fair, spacing_mm))
    return tuple(reasons)


def doubts(
    shown: MaskFacts, half: NDArray[np.int16], mask: NDArray[np.uint8], spacing_mm: Sequence[float]
) -> tuple[str, ...]:
    """Return sentences on what speaks against the names of the levels, and is not a reason to take the answer away.

    Args: as of ``implausible``.
    """
    fair = fair_levels(shown)
    step = spine_shape(half, mask, shown.boxes, fair, spacing_mm).step_mm
    if step is None or step >= _SMALL_STEP_MM:
        return ()
    return (
        f"from one level to the next are {step:.0f} mm, where adults have more than {_SMALL_STEP_MM:.0f}: levels may "
        "have wrong names, as where a scan shows a part of the neck",
    )


def fair_levels(shown: MaskFacts) -> list[str]:
    """Return the visible levels that hold a fair part of a vertebra, from top to bottom."""
    visible = [level for level in LEVELS if shown.levels[level] == "visible"]
    if not visible:
        return []
    least = _FAIR_PART * float(np.median([shown.voxels[level] for level in visible]))
    return [level for level in visible if shown.voxels[level] >= least]


def _reasons_of_air(half: NDArray[np.int16]) -> Iterator[str]:
    lowest, highest = _AIR_LIMITS_HU
    if ((half > lowest) & (half < highest) & (half != AIR_HU)).mean() < _LEAST_AIR:
        yield f"less than {_LEAST_AIR:.1%} of the volume is air: not a CT of a neck, or not Hounsfield units"
        return
    inside = half[:, _off_the_border(half)]
    light = inside[(inside > lowest) & (inside < _LIGHT_HU) & (inside != AIR_HU)]
    if light.size < _LEAST_AIR * half.size:
        return
    air = float((light < highest).mean())
    if air < _LEAST_AIR_OF_LIGHT:
        yield (
            f"{air:.0%} of what is lighter than {_LIGHT_HU} HU is air (below {highest} HU), where at least "
            f"{_LEAST_AIR_OF_LIGHT:.0%} are expected: not Hounsfield units"
        )


def _off_the_border(half: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return which columns (y, x) are not the border that a scanner fills in all slices, nor beside it."""
    from scipy import ndimage

    border = half.max(axis=0) <= AIR_HU
    widened: NDArray[np.bool_] = ndimage.binary_dilation(border, np.ones((3, 3), bool), iterations=_BORDER_PIXELS)
    return ~widened


def _reasons_of_soft_tissue(half: NDArray[np.int16]) -> Iterator[str]:
    edges = np.arange(_SOFT_TISSUE_AROUND_HU[0], _SOFT_TISSUE_AROUND_HU[1] + _BIN_HU, _BIN_HU)
    counts = np.histogram(half, edges)[0]
    peak = float(edges[counts.argmax()] + _BIN_HU / 2)
    if counts.any() and not _SOFT_TISSUE_HU[0] <= peak <= _SOFT_TISSUE_HU[1]:
        yield (
            f"the most frequent value of soft tissue is {peak:.0f} HU, where {_SOFT_TISSUE_HU[0]} to "
            f"{_SOFT_TISSUE_HU[1]} are expected: not a CT of a neck, or not Hounsfield units"
        )


def _reasons_of_shape(shape: SpineShape) -> Iterator[str]:
    if shape.left_right is not None and shape.front_back is not None:
        more = shape.front_back - shape.left_right
        if more > _SYMMETRY_MARGIN:
            yield (
                f"the vertebrae resemble their mirror image front for back ({shape.front_back:.2f}) more than left for "
                f"right ({shape.left_right:.2f}): slices that are turned, or no vertebrae"
            )
    if shape.fall is not None and shape.fall < _LEAST_FALL:
        yield (
            f"the backs of the vertebrae point upwards ({-shape.fall:.2f} of their length), where those of a neck "
            "point downwards: upside down, or front and back are exchanged"
        )
    if shape.tail is not None and shape.tail < _LEAST_TAIL:
        yield (
            f"the vertebrae are not thicker in front than behind (skewness {shape.tail:.2f}, where that of a neck is "
            "positive): front and back are exchanged, or no vertebrae"
        )
    if shape.step_mm is not None and not _STEP_MM[0] <= shape.step_mm <= _STEP_MM[1]:
        yield (
            f"from one level to the next are {shape.step_mm:.0f} mm, where {_STEP_MM[0]:.0f} to {_STEP_MM[1]:.0f} are "
            "expected"
        )


def _centre_slice(shown: MaskFacts, mask: NDArray[np.uint8], level: str) -> float:
    counts = (mask[box_slices(shown.boxes[level])] == LEVELS.index(level) + 1).sum(axis=(1, 2))
    return float(np.average(np.arange(len(counts)), weights=counts)) + shown.boxes[level][0]
