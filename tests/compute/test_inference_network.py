"""The copy of a network that predicts."""

import pytest
import torch

from spine_models.compute.inference_network import InferenceNetwork, NonFiniteOutputError, require_finite
from spine_models.models.batch_norm import batch_norms
from tests import tiny
from tests.workflow.toy_network import Toy, ToySettings

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


@pytest.mark.parametrize("variant", ["ir", "ip"])
def test_on_the_cpu_bf16_has_weights_of_its_own_and_probabilities_within_a_hundredth(variant):
    network, images = tiny.classifier(variant), torch.randn(4, 3, 16, 64, 64)
    images[:, 1] = images[:, 0]
    exact, half = InferenceNetwork(network, CPU, "fp32"), InferenceNetwork(network, CPU, "bf16")
    assert {value.dtype for value in half._rounded.parameters()} == {torch.bfloat16}
    expected, rounded = (torch.sigmoid(copy.logits(images)) for copy in (exact, half))
    assert expected.std() > 0.05
    assert 0 < (rounded - expected).abs().max() < 0.01
    # What overflows is computed once more by weights that were never rounded.
    assert torch.equal(half.logits(images, "fp32"), exact.logits(images))


def test_a_network_that_mixes_types_predicts_in_bf16_too():
    network, images = Toy(ToySettings(4)).eval(), torch.randn(2, 3, 8, 32, 32)
    exact, half = (InferenceNetwork(network, CPU, precision).logits(images) for precision in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.1


def test_on_the_cpu_gradients_are_those_of_float32_in_bf16_too():
    network, images = tiny.classifier("ir"), torch.randn(1, 3, 8, 32, 32)
    exact, half = (InferenceNetwork(network, CPU, precision).gradient(images, 1) for precision in ("fp32", "bf16"))
    assert torch.equal(exact, half)


def test_damaged_weights_are_seen_in_the_logits():
    network = tiny.classifier("ir")
    with torch.no_grad():
        network.backbone.layer2[1].conv3.conv.weight[0, 0] = float("nan")
    assert not InferenceNetwork(network, CPU).logits(torch.randn(1, 3, 8, 32, 32)).isfinite().all()


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="call eval"):
        InferenceNetwork(tiny.classifier("ir").train(), CPU)


def test_what_is_not_finite_is_refused_with_the_precision():
    network = InferenceNetwork(tiny.classifier("ir"), CPU, "bf16")
    require_finite(torch.tensor(True), network.precision)
    with pytest.raises(NonFiniteOutputError, match="computed in bf16"):
        require_finite(torch.tensor(False), network.precision)
