from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spine_models.data.phantom.fractures import OBVIOUS_KINDS, kinds_of
from spine_models.data.phantom.plan import deal, plan_dataset
from spine_models.data.phantom.settings import GRADES, GradeSettings, GradesSettings, PhantomSettings
from spine_models.errors import UserError
from spine_models.levels import LEVELS


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5).filter(any), st.integers(0, 200))
def test_dealt_counts_are_the_shares_up_to_rounding(weights: list[int], total: int) -> None:
    dealt = Counter(deal(dict(enumerate(map(float, weights))), total))
    assert sum(dealt.values()) == total
    assert all(abs(dealt[item] - total * weight / sum(weights)) < 1 for item, weight in enumerate(weights))


@pytest.mark.parametrize("seed", [0, 1, 2022])
def test_grades_and_fractured_studies_meet_their_shares(seed: int) -> None:
    settings = PhantomSettings(studies=50, test_studies=10)
    plans = plan_dataset(settings, seed)
    for split, count in (("train", 50), ("test", 10)):
        chosen = [plan for plan in plans if plan.split == split]
        assert sum(bool(plan.fractures) for plan in chosen) == count / 2
        grades = Counter(fracture.grade for plan in chosen for fracture in plan.fractures)
        total = sum(grades.values())
        assert all(abs(grades[grade] - settings.grades.of(grade).share * total) < 1 for grade in GRADES)


def test_fractures_lie_in_complete_levels_in_order_and_have_a_kind_that_fits() -> None:
    plans = plan_dataset(PhantomSettings(studies=120, test_studies=0, defective=0), 5)
    several = 0
    for plan in plans:
        levels = [fracture.level for fracture in plan.fractures]
        shown = LEVELS[LEVELS.index(plan.top) : LEVELS.index(plan.bottom) + 1]
        assert levels == sorted(set(levels))
        assert set(levels) <= set(shown)
        assert all(fracture.kind in kinds_of(fracture.level, fracture.grade) for fracture in plan.fractures)
        several += len(levels) > 1
    assert several == 12  # a fifth of the 60 fractured studies
    assert sum((plan.top, plan.bottom) != ("C1", "C7") for plan in plans) == 30


def test_obvious_fractures_run_through_the_body_the_dens_or_the_ring() -> None:
    assert set(kinds_of("C5", "obvious")) == {"body_sagittal", "body_coronal", "body_transverse"}
    assert "lamina" not in OBVIOUS_KINDS["C2"]


def test_files_vary_from_study_to_study() -> None:
    plans = [plan.encoding for plan in plan_dataset(PhantomSettings(), 1)]
    rising = sum(encoding.rising for encoding in plans)
    assert 0 < rising < len(plans) / 4
    assert len({encoding.syntax for encoding in plans}) >= 5
    assert len({(encoding.style.signed, encoding.style.bits_stored) for encoding in plans}) == 3
    assert len({encoding.style.intercept for encoding in plans}) >= 4
    assert any(encoding.first_number > 1 for encoding in plans)
    assert sum(encoding.extra_columns > 0 for encoding in plans) == 1


def test_uids_are_valid_unique_and_belong_to_settings_and_seed() -> None:
    settings = PhantomSettings(studies=5)
    uids = [plan.study for plan in plan_dataset(settings, 1)]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid) and len(uid) <= 54 for uid in uids)
    assert uids == [plan.study for plan in plan_dataset(settings, 1)]
    assert not set(uids) & {plan.study for plan in plan_dataset(settings, 2)}
    assert not set(uids) & {plan.study for plan in plan_dataset(replace(settings, matrix=96), 1)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"matrix": 8}, "phantom.matrix is 8"),
        ({"fractured_share": 1.5}, "phantom.fractured_share is 1.5"),
        ({"studies": 3, "segmented": 4}, "phantom.segmented is 4"),
        ({"grades": GradesSettings(subtle=GradeSettings(0.9, 1.0, 250.0, 0.0))}, "phantom.grades"),
    ],
)
def test_impossible_settings_are_one_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(PhantomSettings(), **changes).checked()  # type: ignore[arg-type]
