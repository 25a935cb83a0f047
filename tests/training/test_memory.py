from __future__ import annotations

import torch
from torch import nn

from spine_models.training.memory import measure_step


def two_blocks():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid()),
        nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()),
        nn.Linear(8, 1),
    )


def measured(images: int, half=None):
    network = two_blocks()
    image = torch.zeros(images, 4)
    return measure_step(network, [network[0], network[1]], lambda: network(image).sum(), half)


def test_it_counts_what_the_backward_pass_needs_once():
    step = measured(10)
    # Block 1: its input (4 numbers a row) and two outputs of 8; block 2: one output of 8 (its input is known).
    assert [unit.saved for unit in step.units] == [4 * 10 * (4 + 8 + 8), 4 * 10 * 8]
    assert [unit.input for unit in step.units] == [4 * 10 * 4, 4 * 10 * 8]
    assert step.parameters == sum(parameter.numel() for parameter in two_blocks().parameters())
    assert step.fixed() == 16 * step.parameters


def test_checkpointing_keeps_inputs_and_one_block():
    step = measured(10)
    in_flight = 2 * 4 * 10 * 8
    assert step.activations(True) == 4 * 10 * (4 + 8) + 4 * 10 * 20 + in_flight


def test_it_grows_with_the_images_but_for_copies_of_weights():
    assert measured(20).activations(False) == 2 * measured(10).activations(False)
    half = measured(1000, torch.bfloat16)
    # The first layer's weights are not needed (nothing asks for the gradient of the image).
    assert half.casts == 2 * (8 * 8 + 8 * 8)
    assert half.activations(False) < 0.7 * measured(1000).activations(False)
