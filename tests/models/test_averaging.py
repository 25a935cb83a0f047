"""The average of checkpoints: float64 sums, statistics included, integers of the best."""

import re

import pytest
import torch

from spine_models.errors import UserError
from spine_models.models.averaging import average_states
from spine_models.models.classifier import ClassifierSettings, CsnClassifier


def a_state(value: float, count: int) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.full((2, 3), value),
        "bn.running_mean": torch.tensor([value]),
        "bn.count": torch.tensor(count),
    }


def test_floats_are_averaged_and_integers_are_the_best_checkpoints():
    average = average_states([a_state(1.0, 7), a_state(2.0, 9), a_state(6.0, 1)])
    assert torch.equal(average["weight"], torch.full((2, 3), 3.0))
    assert average["bn.running_mean"].item() == 3.0
    assert average["bn.count"].item() == 7
    assert average["bn.count"].dtype == torch.int64


def test_sums_are_float64():
    """Float32 loses each 1 that is added to 2**24, and the mean with them."""
    states = [{"w": torch.tensor([value])} for value in (2.0**24, 1.0, 1.0, 2.0)]
    assert average_states(states)["w"].item() == 2.0**22 + 1.0
    in_float32 = sum(state["w"] for state in states) / 4
    assert in_float32.item() != 2.0**22 + 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_types_are_kept(dtype):
    assert average_states([{"w": torch.ones(3, dtype=dtype)}] * 2)["w"].dtype == dtype


def test_equal_checkpoints_average_to_themselves():
    torch.manual_seed(0)
    state = CsnClassifier(ClassifierSettings("ir", 50, 8)).state_dict()
    average = average_states([state] * 3)
    assert list(average) == list(state)
    assert all(torch.equal(average[name], state[name]) for name in state)


def test_states_may_come_one_by_one_and_are_left_as_they_are():
    kept = [a_state(1.0, 0), a_state(2.0, 0)]
    average = average_states(state for state in kept)
    average["weight"].zero_()
    average["bn.count"].add_(5)
    assert kept[0]["weight"][0, 0] == 1.0
    assert kept[0]["bn.count"] == 0


@pytest.mark.parametrize(
    "other",
    [
        {"weight": torch.zeros(2, 3)},
        {**a_state(0, 0), "more": torch.zeros(1)},
        {**a_state(0, 0), "weight": torch.zeros(3, 2)},
        {**a_state(0, 0), "weight": torch.zeros(2, 3).double()},
    ],
)
def test_checkpoints_of_another_network_are_refused(other):
    with pytest.raises(UserError, match=r"^checkpoint 2 of the average is not of the same network as the best one"):
        average_states([a_state(0, 0), other])


def test_the_refusal_names_a_tensor_and_counts_the_others():
    other = {"weight": torch.zeros(3, 2), "bn.count": torch.tensor(0), "more": torch.zeros(1)}
    sentence = (
        "checkpoint 3 of the average is not of the same network as the best one (it differs in bn.running_mean and 2 "
        "more): average only checkpoints of one training"
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        average_states([a_state(0, 0), a_state(1, 0), other])


def test_nothing_to_average():
    sentence = "there is no checkpoint to average: train for at least one epoch and keep it"
    with pytest.raises(UserError, match=f"^{sentence}$"):
        average_states([])
