"""Which study and which vertebra a draw takes; every draw depends only on (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def draw_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random numbers of one draw: the same in every process, in whatever order draws are made.

    Args:
        seed: of the run, not negative.
        epoch: counted from 0.
        index: of the draw within the epoch, counted from 0.
    """
    return np.random.default_rng([seed, epoch, index])


def study_in_turn(studies: Sequence[str], seed: int, epoch: int, index: int) -> str:
    """Return the study of a draw when every study is drawn equally often, in an order shuffled anew each round.

    Args:
        studies: at least one.
        seed: see ``draw_generator``.
        epoch: see ``draw_generator``.
        index: draws ``k * len(studies)`` up to ``(k + 1) * len(studies)`` are one round.
    """
    turn, place = divmod(index, len(studies))
    order = draw_generator(seed, epoch, turn).permutation(len(studies))
    return studies[int(order[place])]


class BalancedStudies:
    """Studies weighted so that fractured and healthy ones are drawn equally often (method, sampling)."""

    def __init__(self, studies: Sequence[str], fractured: Sequence[bool]) -> None:
        """Split the studies.

        Args:
            studies: all that may be drawn.
            fractured: ``patient_overall`` of each.
        """
        pairs = list(zip(studies, fractured, strict=True))
        groups = ([study for study, broken in pairs if broken], [study for study, broken in pairs if not broken])
        self._groups = [group for group in groups if group]

    def draw(self, generator: np.random.Generator) -> str:
        """Draw a study: first fractured or healthy with equal chance, then one of those."""
        group = self._groups[int(generator.integers(len(self._groups)))]
        return group[int(generator.integers(len(group)))]


def draw_level(
    levels: Sequence[str], fractured: Sequence[str], fractured_probability: float, generator: np.random.Generator
) -> str:
    """Draw a vertebra of a study.

    Where there are fractured and healthy vertebrae, a fractured one is drawn with ``fractured_probability``;
    where there is one kind only, one of that kind.

    Args:
        levels: vertebrae that can be cut, at least one.
        fractured: the levels that the study's labels call fractured; those not in ``levels`` play no part.
        fractured_probability: 0.7 in the method.
        generator: the sample's own random numbers.
    """
    broken = [level for level in levels if level in fractured]
    healthy = [level for level in levels if level not in fractured]
    wants_broken = generator.random() < fractured_probability
    chosen = (broken or healthy) if wants_broken else (healthy or broken)
    return chosen[int(generator.integers(len(chosen)))]
