"""What the published networks hold at once, by tensors without memory."""

import torch

from spine_models.models.convolutions import use_plain
from spine_models.models.networks import build
from tests.fake_tensors import GIB, fake_tensors, with_fake_values


def test_a_frozen_step_fits_the_card_of_its_preset():
    """The published interaction-preserved network, with 16 crops: 44 GiB where batch norm keeps its input."""
    settings = {"mode": "ip", "depth": 152, "base_channels": 64, "dropout": 0.5}
    with torch.device("meta"):
        network = build({"kind": "csn", **settings}, freeze_bn=True)
    # What a CPU's own ways to a convolution hold depends on the CPU.
    use_plain(network)
    with fake_tensors() as held, torch.autocast("cpu", torch.bfloat16):
        with_fake_values(network)
        network(torch.empty(16, 3, 40, 256, 256))
    assert 20 * GIB < held.peak < 25 * GIB


def test_a_prediction_frees_each_skip_when_it_has_been_used():
    """At the last stage nothing is left of the encoder: the peak is that stage's own."""
    settings = {"depth": 50, "base_channels": 64, "decoder_channels": [256, 128, 64, 40, 32], "batch_norm_eps": 1e-3}
    with torch.device("meta"):
        network = build({"kind": "csn_unet", **settings}).eval()
    with fake_tensors() as held, torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        with_fake_values(network)
        network(torch.empty(1, 1, 384, 256, 256))
    assert held.peak < 5.8 * GIB
