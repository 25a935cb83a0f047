"""A sample of the random trees; ``python -m tests.fuzz.layout_cases 1000`` checks a thousand."""

from __future__ import annotations

from collections import Counter

from tests.fuzz.layout_cases import check_tree, plan_of


def test_random_trees_lose_and_mix_nothing(tmp_path) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(40):
        outcomes += check_tree(seed, tmp_path / str(seed))
    assert outcomes["read"] > outcomes.total() / 2
    assert outcomes["several_patients"]


def test_a_tree_is_a_function_of_its_seed() -> None:
    assert plan_of(7).files == plan_of(7).files != plan_of(8).files
