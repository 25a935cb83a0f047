from __future__ import annotations

import pytest
import torch
from torch import nn

from spine_models.training.optimizer import build_optimizer, cosine_rate, cosine_schedule


def test_weight_decay_reaches_neither_biases_nor_norm_layers():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.Linear(2, 1))
    decayed, others = build_optimizer(network, 1e-3, 1e-2).param_groups
    assert decayed["weight_decay"] == 1e-2 and others["weight_decay"] == 0.0
    assert {id(p) for p in decayed["params"]} == {id(network[0].weight), id(network[2].weight)}
    assert len(others["params"]) == 4


def test_frozen_parameters_are_left_out():
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    decayed, others = build_optimizer(network, 1e-3, 1e-2).param_groups
    assert len(decayed["params"]) == 1 and not others["params"]


def test_the_rate_falls_from_the_first_to_the_final_one_a_step_at_a_time():
    optimizer = build_optimizer(nn.Linear(2, 1), 2e-4, 0.0)
    schedule = cosine_schedule(optimizer, 11, 2e-4, 1e-5)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(2e-4) and rates[-1] == pytest.approx(1e-5)
    assert rates[5] == pytest.approx((2e-4 + 1e-5) / 2)
    assert rates == sorted(rates, reverse=True)
    assert rates == [pytest.approx(cosine_rate(step, 11, 2e-4, 1e-5)) for step in range(11)]


def test_trainings_of_one_and_of_two_steps():
    assert cosine_rate(0, 1, 1e-3, 1e-5) == 1e-3
    assert [cosine_rate(step, 2, 1e-3, 1e-5) for step in (0, 1)] == pytest.approx([1e-3, 1e-5])
    assert torch.isfinite(torch.tensor(cosine_rate(1, 1, 1e-3, 1e-5)))


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 1.0), (1, 0.1 + 0.9 * (2 + 2**0.5) / 4), (2, 0.55), (3, 0.1 + 0.9 * (2 - 2**0.5) / 4), (4, 0.1), (9, 0.1)],
)
def test_the_rate_is_a_cosine_and_stays_at_its_end(step, rate):
    assert cosine_rate(step, 5, 1.0, 0.1) == pytest.approx(rate, abs=1e-12)


def test_both_groups_start_with_the_rate_and_nothing_decays_by_default():
    groups = build_optimizer(nn.Linear(2, 1), 3e-4, 5e-2).param_groups
    assert [group["lr"] for group in groups] == [3e-4, 3e-4]
    assert [group["weight_decay"] for group in groups] == [5e-2, 0.0]
