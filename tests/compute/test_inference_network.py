"""The copy of a network that predicts."""

import pytest
import torch

from spine_models.compute.inference_network import InferenceNetwork, NonFiniteOutputError, require_finite
from spine_models.models.batch_norm import batch_norms
from tests import tiny

CPU = torch.device("cpu")


def test_the_copy_is_folded_and_channels_last_and_the_network_stays_as_it_is():
    network = tiny.classifier("ip")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copy = InferenceNetwork(network, CPU)
    images = torch.randn(2, 3, 8, 32, 32)
    logits = copy.logits(images)
    with torch.inference_mode():
        torch.testing.assert_close(logits, network(images), atol=1e-4, rtol=1e-4)
    assert not any(batch_norms(copy._network)) and any(batch_norms(network))
    kernels = [value for value in copy._network.parameters() if value.ndim == 5]
    assert kernels and all(kernel.is_contiguous(memory_format=torch.channels_last_3d) for kernel in kernels)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_half_precision_gives_float32_that_is_close():
    network, images = tiny.classifier("ir"), torch.randn(2, 3, 8, 32, 32)
    exact, half = (InferenceNetwork(network, CPU, precision).logits(images) for precision in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.5


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="call eval"):
        InferenceNetwork(tiny.classifier("ir").train(), CPU)


def test_what_is_not_finite_is_refused_with_the_precision():
    network = InferenceNetwork(tiny.classifier("ir"), CPU, "bf16")
    require_finite(torch.tensor(True), network.precision)
    with pytest.raises(NonFiniteOutputError, match="computed in bf16"):
        require_finite(torch.tensor(False), network.precision)
