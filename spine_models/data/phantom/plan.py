"""What each study of a phantom data set is, before anything is drawn: fractures, coverage, file format, defect.

Shares are met by counting, not by chance: a set of fractures is dealt out by the largest remainder and then shuffled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from spine_models.data.phantom.defects import DEFECTS
from spine_models.data.phantom.encoding import Encoding, encoding_of
from spine_models.data.phantom.extremes import BORDERS_HU, can_hold_borders
from spine_models.data.phantom.fractures import Fracture, kinds_of
from spine_models.data.phantom.settings import GRADES, PhantomSettings
from spine_models.levels import LEVELS
from spine_models.provenance.canonical import digest_json

T = TypeVar("T")

SPLITS: tuple[str, ...] = ("train", "test", "defective")

COVERAGES: tuple[tuple[str, str], ...] = (("C3", "C7"), ("C1", "C6"), ("C2", "C7"), ("C1", "C5"))
"""First and last complete level of the studies that do not show all seven, in turn."""

LEVEL_WEIGHTS: tuple[float, ...] = (0.10, 0.16, 0.10, 0.12, 0.14, 0.17, 0.21)
"""How often a fracture sits at C1..C7; flatter than in the challenge's data, so that small sets have every level."""

_CUT_SHARE = 0.25
_EXTREMES = 2  # behind the 0 and 1 of a study's own random numbers (``data.phantom.dataset``)
_SEVERAL: Mapping[int, float] = {1: 0.8, 2: 0.15, 3: 0.05}


@dataclass(frozen=True)
class StudyPlan:
    """One study.

    Attributes:
        split: one of ``SPLITS``.
        index: number within the split.
        study: StudyInstanceUID.
        segmented: whether a label map is written.
        top: first level that is completely shown.
        bottom: last level that is completely shown.
        fractures: from superior to inferior; at complete levels only.
        encoding: how the files are written.
        border_hu: what is outside the scanner's circle, None where that is tissue, air or tagged padding.
        metal: whether there is metal near the spine.
        defect: kind of damage, one of ``DEFECTS``, or empty.
        seed: seeds of the study's random numbers.
    """

    split: str
    index: int
    study: str
    segmented: bool
    top: str
    bottom: str
    fractures: tuple[Fracture, ...]
    encoding: Encoding
    border_hu: int | None
    metal: bool
    defect: str
    seed: tuple[int, ...]


def plan_dataset(settings: PhantomSettings, seed: int) -> list[StudyPlan]:
    """Plan all studies: training, test and defective ones, in this order."""
    counts = (settings.studies, settings.test_studies, settings.defective)
    return [
        plan for split, count in zip(SPLITS, counts, strict=True) for plan in _plan_split(settings, seed, split, count)
    ]


def deal(shares: Mapping[T, float], total: int) -> list[T]:
    """Return ``total`` items whose counts follow ``shares`` exactly up to rounding (largest remainder).

    Example:
        >>> deal({"a": 0.5, "b": 0.3, "c": 0.2}, 4)
        ['a', 'a', 'b', 'c']
    """
    scale = total / sum(shares.values())
    counts = {item: int(share * scale + 1e-9) for item, share in shares.items()}
    by_remainder = sorted(shares, key=lambda item: counts[item] - shares[item] * scale)
    for item in by_remainder[: total - sum(counts.values())]:
        counts[item] += 1
    return [item for item, count in counts.items() for _ in range(count)]


def _plan_split(settings: PhantomSettings, seed: int, split: str, count: int) -> list[StudyPlan]:
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    coverages = _coverages(rng, count)
    fractures = _fractures(rng, settings, coverages)
    segmented = set(_shuffled(rng, range(count))[: settings.segmented]) if split == "train" else set()
    larger = count - 1 if split == "train" and count >= 12 else -1
    encodings = [
        encoding_of(rng, index, extra_columns=settings.matrix // 32 if index == larger else 0) for index in range(count)
    ]
    borders, metal = _extremes(settings, seed, split, encodings)
    return [
        StudyPlan(
            split,
            index,
            uid_of(seed, settings, split, index, "study"),
            index in segmented,
            *coverages[index],
            fractures[index],
            replace(encoding, style=replace(encoding.style, padded=False)) if index in borders else encoding,
            borders.get(index),
            index in metal,
            DEFECTS[index % len(DEFECTS)] if split == "defective" else "",
            (seed, SPLITS.index(split), index),
        )
        for index, encoding in enumerate(encodings)
    ]


def _extremes(
    settings: PhantomSettings, seed: int, split: str, encodings: Sequence[Encoding]
) -> tuple[dict[int, int], set[int]]:
    """Choose the studies with borders (index to HU) and those with metal.

    The random numbers are of a stream of their own, so that patients and fractures are the same with and without.
    """
    if split == "defective":
        return {}, set()
    rng = np.random.default_rng([seed, SPLITS.index(split), 0, _EXTREMES])
    able = [index for index, encoding in enumerate(encodings) if can_hold_borders(encoding.style)]
    bordered = _shuffled(rng, able)[: round(settings.border_share * len(encodings))]
    metal = _shuffled(rng, range(len(encodings)))[: round(settings.metal_share * len(encodings))]
    return {index: BORDERS_HU[place % len(BORDERS_HU)] for place, index in enumerate(bordered)}, set(metal)


def uid_of(seed: int, settings: PhantomSettings, split: str, index: int, what: str) -> str:
    """Return a UID of the 2.25 arc (PS3.5 B.2) that is a digest of what it names.

    The shares of borders and metal play no part: a data set with them is split into the same folds as one without, so
    that what they change can be measured.
    """
    kept = {key: value for key, value in settings.as_json().items() if key not in ("border_share", "metal_share")}
    named = {"seed": seed, "settings": kept, "split": split, "index": index, "what": what}
    return f"2.25.{int(digest_json(named)[:32], 16)}"


def _coverages(rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    cut = round(_CUT_SHARE * count)
    chosen = [COVERAGES[number % len(COVERAGES)] for number in range(cut)]
    return _shuffled(rng, chosen + [("C1", "C7")] * (count - cut))


def _fractures(
    rng: np.random.Generator, settings: PhantomSettings, coverages: Sequence[tuple[str, str]]
) -> list[tuple[Fracture, ...]]:
    broken = round(settings.fractured_share * len(coverages))
    numbers = _shuffled(rng, deal(_SEVERAL, broken) + [0] * (len(coverages) - broken))
    shares = {grade: settings.grades.of(grade).share for grade in GRADES}
    grades = iter(_shuffled(rng, deal(shares, sum(numbers))))
    planned = []
    for number, (top, bottom) in zip(numbers, coverages, strict=True):
        shown = LEVELS[LEVELS.index(top) : LEVELS.index(bottom) + 1]
        weights = np.array([LEVEL_WEIGHTS[LEVELS.index(level)] for level in shown])
        levels = sorted(rng.choice(shown, number, replace=False, p=weights / weights.sum()).tolist())
        planned.append(tuple(_fracture(rng, level, next(grades)) for level in levels))
    return planned


def _fracture(rng: np.random.Generator, level: str, grade: str) -> Fracture:
    return Fracture(level, grade, str(rng.choice(kinds_of(level, grade))))


def _shuffled(rng: np.random.Generator, items: Sequence[T]) -> list[T]:
    return [items[place] for place in rng.permutation(len(items))]
