"""A study that is unlike those that the networks learnt from is no answer, and the reason says in which number."""

import pytest

from spine_models.data.training_facts import training_facts
from spine_models.inference.beyond_training import beyond_training
from tests.volumes import volume_facts


def _learnt():
    """Steps of 1 to 2 mm, pixels of 0.3 to 0.5 mm, 150 to 300 mm tall, means of -500 to -300 HU."""
    return training_facts(
        volume_facts(
            spacing_mm=(1 + share, 0.3 + 0.2 * share, 0.3 + 0.2 * share),
            shape=(150, 512, 512),
            mean=-500 + 200 * share,
            std=400 + 100 * share,
        )
        for share in (number / 1000 for number in range(1001))
    )


def _said(**changes):
    like = {"spacing_mm": (1.5, 0.4, 0.4), "shape": (150, 512, 512), "mean": -400.0, "std": 450.0}
    return beyond_training(volume_facts(**{**like, **changes}), _learnt())


def test_a_study_like_those_is_no_reason():
    assert _said() == ()
    assert beyond_training(volume_facts(spacing_mm=(99, 99, 99)), None) == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"spacing_mm": (3.1, 0.4, 0.4), "shape": (60, 512, 512)},
            "slices that are 3.10 mm apart; the networks learnt from 1.01 to 1.99 mm",
        ),
        ({"spacing_mm": (0.6, 0.4, 0.4)}, "slices that are 0.60 mm apart"),
        ({"spacing_mm": (1.5, 0.8, 0.4)}, "pixels of 0.80 mm; the networks learnt from 0.302 to 0.498 mm"),
        ({"spacing_mm": (1.5, 0.15, 0.4)}, "pixels of 0.15 mm"),
        ({"shape": (310, 512, 512)}, "a scan 465 mm tall"),
        ({"shape": (150, 512, 200)}, "slices 80 mm wide"),
        ({"shape": (150, 512, 1200)}, "slices 480 mm wide"),
        ({"mean": -99.0}, "a mean of -99 HU; the networks learnt from -498 to -302 HU"),
        ({"mean": -701.0}, "a mean of -701 HU"),
        ({"std": 700.0}, "a standard deviation of 700 HU"),
        ({"std": 200.0}, "a standard deviation of 200 HU"),
    ],
)  # fmt: skip
def test_each_measure_has_a_reason(changes, reason):
    (said,) = _said(**changes)
    assert said.startswith(f"it has {reason}")


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (20, 512, 512)},
        {"spacing_mm": (2.9, 0.4, 0.4), "shape": (60, 512, 512)},
        {"spacing_mm": (1.5, 0.7, 0.4)},
        {"mean": -120.0},
        {"std": 640.0},
    ],
)
def test_there_is_room_beyond_the_range_and_a_part_of_a_neck_may_be_small(changes):
    assert _said(**changes) == ()
