"""Slices of a stack that are beside it: one damaged position must not bend the affine of all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.headers import SliceHeader

Floats = NDArray[np.float64]

SIDEWAYS_MM = 0.5
"""A slice that is further than this, and a pixel, beside the line through its neighbours is out of line. In the
challenge's curved reformats that is 0.16 mm at most; a tilted or oblique stack does not bend at all.
"""
_MOST = 0.1


def drop_sideways(headers: Sequence[SliceHeader], points: Floats, along: Floats) -> tuple[list[int], str | None]:
    """Return which slices of an ordered stack are in line, and a note on the others.

    Args:
        headers: slices in order.
        points: their positions, (n, 3) mm.
        along: their coordinates along the stack, (n,) mm, rising.

    Raises:
        StudyRefused: ``geometry_invalid`` if more than a tenth of the slices are out of line.
    """
    tolerance = max(SIDEWAYS_MM, *(headers[0].spacing or (0.0,)))
    kept = list(range(len(headers)))
    while len(kept) > 2:
        bends = _bends(points[kept], along[kept])
        worst = int(bends.argmax())
        if bends[worst] <= tolerance:
            break
        if len(kept) == 3:
            raise StudyRefused(RefusalCode.GEOMETRY_INVALID, "the slices are not on one line")
        # A slice out of line bends the places of its neighbours too: the culprit is the one without whom all is well.
        suspects = [i for i in range(worst - 2, worst + 3) if 0 <= i < len(kept)]
        without = {i: [*kept[:i], *kept[i + 1 :]] for i in suspects}
        kept = min(without.values(), key=lambda rest: float(_bends(points[rest], along[rest]).max()))
    dropped = len(headers) - len(kept)
    if dropped > _MOST * len(headers):
        raise StudyRefused(RefusalCode.GEOMETRY_INVALID, f"{dropped} slices are beside the line through the others")
    return kept, f"{dropped} slices left out: they lie beside the line through the others" if dropped else None


def _bends(points: Floats, along: Floats) -> Floats:
    """Distance of each slice from the line through its two neighbours; at the ends, through the next two slices."""
    last = len(points) - 1
    own = np.arange(len(points))
    one = np.where(own == 0, 1, np.where(own == last, last - 2, own - 1))
    other = np.where(own == 0, 2, np.where(own == last, last - 1, own + 1))
    part = (along[own] - along[one]) / (along[other] - along[one])
    line = points[one] + part[:, None] * (points[other] - points[one])
    bends: Floats = np.linalg.norm(points - line, axis=1)
    return bends
