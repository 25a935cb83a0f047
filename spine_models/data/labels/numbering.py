"""How label maps number the levels: presets, and a user's own numbers.

Imported while Snakemake parses the workflow: nothing here may import numpy.
"""

from __future__ import annotations

from collections.abc import Mapping

from spine_models.levels import LEVELS

FROM_C1 = "from_c1"
NUMBERINGS: dict[str, tuple[int, ...]] = {
    FROM_C1: (1, 2, 3, 4, 5, 6, 7),
    "verse": (1, 2, 3, 4, 5, 6, 7),
    "totalsegmentator": (50, 49, 48, 47, 46, 45, 44),
}
"""Numbers of C1 to C7: of the challenge, VerSe (Sekuboyina 2021, table 1) and TotalSegmentator 2 (task ``total``)."""
LARGEST_FROM_C1 = 28
"""Largest number of a vertebra where C1 is 1: T13 in VerSe's numbering."""


def level_numbers(chosen: str | Mapping[str, int]) -> tuple[int, ...]:
    """Return the numbers of C1 to C7, of a preset or as a mapping from each level to its number says."""
    return NUMBERINGS[chosen] if isinstance(chosen, str) else tuple(chosen[level] for level in LEVELS)
