"""What a validation of the segmentation found: ``segmentation/fold<n>/metrics.json``."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.provenance.facts import Facts


@dataclass(frozen=True)
class SegmentationFigures(Facts):
    """Dice on the held-out studies of a fold.

    Attributes:
        dice_mean: over the studies, of each study's mean over its levels; None where no label counts.
        dice_per_class: level to its mean over the studies; None for a level that no label holds.
        n_studies: held-out studies.
        per_study: study to level to Dice, see ``dice.dice_per_level``.
    """

    dice_mean: float | None
    dice_per_class: dict[str, float | None]
    n_studies: int
    per_study: dict[str, dict[str, float]]

    @property
    def metric(self) -> float | None:
        """What epochs are compared by."""
        return self.dice_mean


@dataclass(frozen=True)
class PublishedFigures(SegmentationFigures):
    """The figures of the epoch whose network is published; ``epoch`` counts from 0."""

    epoch: int
