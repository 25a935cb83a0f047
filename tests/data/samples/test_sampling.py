import numpy as np
import pytest

from spine_models.data.samples.sampling import BalancedStudies, draw_generator, draw_level, study_in_turn
from spine_models.levels import LEVELS


def _binomial(hits: int, draws: int, probability: float) -> bool:
    """Tell whether ``hits`` is within five standard deviations."""
    return abs(hits - draws * probability) < 5 * np.sqrt(draws * probability * (1 - probability))


def test_draws_depend_on_seed_epoch_and_index_alone():
    numbers = {
        (seed, epoch, index): draw_generator(seed, epoch, index).random()
        for seed in (0, 1)
        for epoch in (0, 1)
        for index in (0, 1)
    }
    assert len(set(numbers.values())) == 8
    assert draw_generator(1, 0, 1).random() == numbers[1, 0, 1]


def test_in_turn_every_study_is_drawn_equally_often_in_changing_order():
    studies = [f"s{i}" for i in range(7)]
    first = [study_in_turn(studies, 3, 0, index) for index in range(7 * 64)]
    second = [study_in_turn(studies, 3, 1, index) for index in range(7 * 64)]
    assert all(first.count(study) == 64 for study in studies)
    assert all(set(first[i : i + 7]) == set(studies) for i in range(0, len(first), 7))
    assert first[:7] != first[7:14]
    assert first != second


def test_fractured_and_healthy_studies_are_drawn_equally_often():
    studies = [f"s{i}" for i in range(20)]
    balanced = BalancedStudies(studies, [i < 3 for i in range(20)])
    drawn = [balanced.draw(draw_generator(0, 0, index)) for index in range(6000)]
    assert _binomial(sum(study in studies[:3] for study in drawn), 6000, 0.5)
    for study in studies[:3]:
        assert _binomial(drawn.count(study), 6000, 1 / 6)
    for study in studies[3:]:
        assert _binomial(drawn.count(study), 6000, 1 / 34)


@pytest.mark.parametrize("fractured", [True, False])
def test_studies_of_one_kind_are_drawn_alike(fractured):
    balanced = BalancedStudies(["a", "b"], [fractured] * 2)
    drawn = [balanced.draw(draw_generator(0, 0, index)) for index in range(2000)]
    assert _binomial(drawn.count("a"), 2000, 0.5)


def test_a_fractured_vertebra_is_drawn_with_its_probability():
    drawn = [draw_level(LEVELS, ["C2", "C7"], 0.7, draw_generator(0, 0, index)) for index in range(6000)]
    assert _binomial(sum(level in ("C2", "C7") for level in drawn), 6000, 0.7)
    assert _binomial(drawn.count("C2"), 6000, 0.35)
    assert _binomial(drawn.count("C4"), 6000, 0.3 / 5)


def test_a_study_of_one_kind_of_vertebrae_gives_that_kind():
    draws = range(200)
    assert {draw_level(("C1", "C3"), [], 0.7, draw_generator(0, 0, i)) for i in draws} == {"C1", "C3"}
    assert {draw_level(("C1", "C3"), ["C1", "C3"], 0.7, draw_generator(0, 0, i)) for i in draws} == {"C1", "C3"}


def test_a_fractured_vertebra_that_cannot_be_cut_is_never_drawn():
    assert {draw_level(("C1", "C3"), ["C2"], 0.7, draw_generator(0, 0, i)) for i in range(200)} == {"C1", "C3"}


@pytest.mark.parametrize("fractured", [[True], [True, False, True]])
def test_each_study_needs_its_label(fractured):
    with pytest.raises(ValueError, match="zip"):
        BalancedStudies(["a", "b"], fractured)
