"""What the average of a classifier's best epochs is worth: ``averaging.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spine_models.evaluation.epochs import Epoch
from spine_models.provenance.facts import Facts


@dataclass(frozen=True)
class GreedyAverage(Facts):
    """An average that an epoch joins only where it helps.

    Attributes:
        loss: the challenge's, on the held-out studies.
        epochs: that joined, best first.
    """

    loss: float
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True)
class Averaging(Facts):
    """The best single epoch beside averages, on the very studies that chose the epochs: slightly optimistic.

    Attributes:
        best_single: the challenge's loss of the best epoch.
        averaged: of the plain average.
        epochs: of the plain average, best first.
        greedy: the greedy choice, where it was asked for.
        published: which of the two averages the model is.
    """

    best_single: float
    averaged: float
    epochs: tuple[Epoch, ...]
    greedy: GreedyAverage | None
    published: Literal["averaged", "greedy"]
