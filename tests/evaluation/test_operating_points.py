from __future__ import annotations

import numpy as np
import pytest

from spine_models.evaluation.operating_points import OVERALL, POINTS, SCOPES, VERTEBRA, OperatingPoints
from spine_models.evaluation.thresholds import CHOICES, operating_point, operating_points
from spine_models.levels import LEVELS, TARGETS

SCORES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
PRESENT = [0, 0, 0, 1, 0, 0, 1, 0, 1, 1]


def point(name: str, scores=SCORES, present=PRESENT, studies=None, draws=1000):
    return operating_point(
        scores,
        present,
        np.arange(len(scores)) if studies is None else studies,
        choose=CHOICES[name],
        seed=3,
        draws=draws,
    )


def test_points_by_hand() -> None:
    """Four with and six without: sensitivity steps by a quarter, specificity by a sixth."""
    sensitive = point("sensitivity_90")
    assert (sensitive.threshold, sensitive.sensitivity, sensitive.specificity) == (0.35, 1.0, 0.5)
    specific = point("specificity_90")
    assert (specific.threshold, specific.sensitivity, specific.specificity) == (0.85, 0.5, 1.0)
    # From 0.65 on: 3 of 4 and 5 of 6; from 0.85 on 2 of 4 and 6 of 6; from 0.35 on 4 of 4 and 3 of 6.
    youden = point("youden")
    assert (youden.threshold, youden.sensitivity, youden.specificity) == (0.65, 0.75, 0.833333)
    assert {(p.positives, p.negatives) for p in (sensitive, specific, youden)} == {(4, 6)}


def test_of_equal_sums_the_largest_threshold_is_taken() -> None:
    assert point("youden", [0.2, 0.4, 0.6, 0.8], [0, 1, 0, 1]).threshold == pytest.approx(0.7)


def test_equal_scores_are_marked_together() -> None:
    found = point("sensitivity_90", [0.2, 0.5, 0.5, 0.5, 0.8], [0, 1, 0, 1, 1])
    assert (found.threshold, found.sensitivity, found.specificity) == (0.35, 1.0, 0.5)


def test_neighbours_of_the_last_decimal_are_told_apart() -> None:
    found = point("youden", [0.123456, 0.123457], [0, 1], draws=5)
    assert 0.123456 < found.threshold <= 0.123457
    assert (found.sensitivity, found.specificity) == (1.0, 1.0)


def test_without_any_separation_the_ends_serve() -> None:
    assert point("sensitivity_90", [0.5, 0.5, 0.5], [0, 1, 1]).threshold == 0.0
    found = point("specificity_90", [0.5, 0.5, 0.5], [0, 1, 1])
    assert (found.threshold, found.sensitivity, found.specificity) == (1.0, 0.0, 1.0)


def drawn(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Studies whose scores overlap: normal, a standard deviation and a half apart."""
    random = np.random.default_rng(seed)
    targets = (random.random((number, len(TARGETS))) < 0.3).astype(float)
    targets[:, 0] = targets[:, 1:].max(axis=1)
    logits = random.normal(size=targets.shape) + 1.5 * targets - 1
    return 1 / (1 + np.exp(-logits)), targets


def test_unseen_studies_lie_within_the_intervals() -> None:
    """Twenty times 100 studies to fix the points, and 100 others of the same kind to measure them."""
    inside = 0
    total = 0
    for seed in range(20):
        points = operating_points(*drawn(100, seed), flips=("none",), precisions=("fp32",), seed=1)
        assert points is not None
        scores, targets = drawn(100, 1000 + seed)
        for scopes in points.points.values():
            for scope, columns in ((OVERALL, slice(0, 1)), (VERTEBRA, slice(1, 8))):
                marked = np.round(scores[:, columns], 6) >= scopes[scope].threshold
                present = targets[:, columns] == 1
                seen = (marked[present].mean(), 1 - marked[~present].mean())
                stated = (scopes[scope].sensitivity_ci95, scopes[scope].specificity_ci95)
                inside += sum(low <= value <= high for value, (low, high) in zip(seen, stated, strict=True))
                total += 2
    # Of 240 figures; a third of the studies measures each draw, so that intervals are somewhat wide.
    assert inside >= 0.93 * total
    assert inside < total


def test_levels_of_a_study_are_drawn_together() -> None:
    """Copies of a study tell nothing new: intervals are those of the studies."""
    scores, present = np.array(SCORES * 3), np.array(PRESENT * 3)
    once = point("youden", scores[:20], present[:20])
    many = point("youden", np.repeat(scores[:20], 5), np.repeat(present[:20], 5), np.repeat(np.arange(20), 5))
    assert many.sensitivity_ci95 == once.sensitivity_ci95
    assert many.specificity_ci95 == once.specificity_ci95


def test_equal_seeds_give_equal_points_and_one_kind_of_target_gives_none() -> None:
    scores, targets = drawn(40, 5)
    make = {"flips": ("none",), "precisions": ("fp32",)}
    assert operating_points(scores, targets, **make, seed=7) == operating_points(scores, targets, **make, seed=7)
    assert operating_points(scores, np.zeros_like(targets), **make, seed=7) is None


@pytest.fixture
def points() -> OperatingPoints:
    found = operating_points(*drawn(60, 2), flips=("none",), precisions=("fp32",), seed=0)
    assert found is not None
    return OperatingPoints(found.points, ("ir-0", "ip-0"), found.flips, found.precisions, found.studies)


def test_they_survive_json_and_name_every_scope(points) -> None:
    assert OperatingPoints.from_json(points.to_json()) == points
    assert {name: tuple(scopes) for name, scopes in points.points.items()} == dict.fromkeys(POINTS, SCOPES)
    assert CHOICES.keys() == set(POINTS)


def test_a_target_is_marked_from_its_threshold_on(points) -> None:
    for target in TARGETS:
        threshold = points.points["youden"][OVERALL if target == OVERALL else VERTEBRA].threshold
        assert points.marks("youden", target, threshold)
        assert points.marks("youden", target, threshold - 4e-7)  # six decimals are shown
        assert not points.marks("youden", target, threshold - 1e-6)
    assert set(LEVELS) < set(TARGETS)


@pytest.mark.parametrize(
    ("members", "flips", "precision", "words"),
    [
        (["ip-0", "ir-0"], ["none"], "fp32", ""),
        (["ir-0"], ["none"], "fp32", "predicted by ir-0, and they were fixed by ir-0, ip-0 "),
        (["ir-0", "ip-0"], ["none", "horizontal"], "fp32", "predicted with the flips none, horizontal, and"),
        (
            ["ir-0", "ip-0"],
            ["none"],
            "bf16",
            "predicted in bf16, and they were fixed by ir-0, ip-0 with the flips none",
        ),
    ],
)
def test_they_hold_for_what_they_were_fixed_on_and_for_nothing_else(points, members, flips, precision, words) -> None:
    why_not = points.why_not(members, flips, precision)
    assert (words in why_not) if words else why_not == ""
