"""Thresholds that were fixed on out-of-fold predictions, and what they hold for.

One threshold serves ``patient_overall`` and one all seven levels; a target is marked from its threshold on.
``evaluation.thresholds`` fixes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spine_models.levels import TARGETS
from spine_models.provenance.facts import Facts

POINTS: tuple[str, ...] = ("sensitivity_90", "specificity_90", "youden")
OVERALL, VERTEBRA = TARGETS[0], "vertebra"
SCOPES: tuple[str, ...] = (OVERALL, VERTEBRA)
"""What has a threshold of its own."""
DECIMALS = 6
"""Of probabilities in tables; so many count."""


@dataclass(frozen=True)
class OperatingPoint(Facts):
    """One threshold.

    Attributes:
        threshold: a probability from which on a target is marked; 0 to 1.
        sensitivity: share of the targets with a fracture that it marks out of fold.
        specificity: share of the others that it does not mark.
        sensitivity_ci95: 95 % interval of the sensitivity on unseen studies; None where too few have a fracture.
        specificity_ci95: likewise.
        positives: targets with a fracture that it was fixed on.
        negatives: targets without.
    """

    threshold: float
    sensitivity: float
    specificity: float
    sensitivity_ci95: tuple[float, float] | None
    specificity_ci95: tuple[float, float] | None
    positives: int
    negatives: int


@dataclass(frozen=True)
class OperatingPoints(Facts):
    """All points of a set of networks, and what they hold for.

    Attributes:
        points: name, one of ``POINTS``, to scope to point.
        members: names of the classifiers whose mean was judged; empty as long as no bundle has named them.
        flips: of crops when the out-of-fold predictions were made.
        precisions: in which those were computed.
        studies: that they were fixed on.
    """

    points: dict[str, dict[str, OperatingPoint]]
    members: tuple[str, ...]
    flips: tuple[str, ...]
    precisions: tuple[str, ...]
    studies: int

    def marks(self, name: str, target: str, probability: float) -> bool:
        """Say whether a probability of a target is marked at the point of this name."""
        scope = OVERALL if target == OVERALL else VERTEBRA
        return round(probability, DECIMALS) >= self.points[name][scope].threshold

    def why_not(self, members: Sequence[str], flips: Sequence[str], precision: str) -> str:
        """Return a sentence on why they do not hold for a prediction, empty where they hold.

        Args:
            members: names of the classifiers that predicted.
            flips: that they used.
            precision: that they computed in.
        """
        own = {
            f"by {_listed(members)}": sorted(members) == sorted(self.members),
            f"with the flips {_listed(flips)}": tuple(flips) == self.flips,
            f"in {precision}": self.precisions == (precision,),
        }
        wrong = [words for words, same in own.items() if not same]
        if not wrong:
            return ""
        return (
            f"No operating point holds: this study was predicted {', '.join(wrong)}, and they were fixed by "
            f"{_listed(self.members)} with the flips {_listed(self.flips)} in {_listed(self.precisions)}."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
