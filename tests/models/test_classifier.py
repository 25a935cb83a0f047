"""The classifier: eight logits from the global maximum of the last feature map."""

import pytest
import torch
from torch.nn import functional

from spine_models.models.classifier import ClassifierSettings, CsnClassifier


@pytest.mark.parametrize("variant", ["ir", "ip"])
def test_logits_of_any_crop_size(variant):
    network = CsnClassifier(ClassifierSettings(variant, 50, 8)).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 10, 40, 48)).shape == (2, 8)


def test_head_of_the_full_recipe():
    with torch.device("meta"):
        network = CsnClassifier(ClassifierSettings("ip"))
    assert (network.head.in_features, network.head.out_features) == (2048, 8)
    assert network.dropout.p == 0.5
    assert network.settings.depth == 152


def test_logits_are_the_linear_layer_on_the_global_maximum():
    network = CsnClassifier(ClassifierSettings("ir", 50, 8)).eval()
    crops = torch.randn(2, 3, 16, 64, 64)
    with torch.no_grad():
        features = network.backbone(crops)[-1]
        assert features.shape[2:] == (2, 2, 2)
        expected = functional.linear(features.flatten(2).max(2).values, network.head.weight, network.head.bias)
        torch.testing.assert_close(network(crops), expected)


def test_a_maximum_that_occurs_twice_gets_one_whole_gradient():
    network = CsnClassifier(ClassifierSettings("ir", 50, 8))
    features = torch.zeros(1, 4, 2, 2, 2, requires_grad=True)
    network.pool(features).sum().backward()
    assert sorted(features.grad.flatten(2)[0, 0].tolist()) == [0] * 7 + [1]


def test_dropout_only_in_training():
    network = CsnClassifier(ClassifierSettings("ir", 50, 8), freeze_bn=True)
    crops = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network.train()(crops), network(crops))
        assert torch.equal(network.eval()(crops), network(crops))


def test_a_training_step_is_deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        gradients = []
        for _ in range(2):
            torch.manual_seed(0)
            network = CsnClassifier(ClassifierSettings("ir", 50, 8))
            network(torch.randn(2, 3, 8, 32, 32)).sigmoid().sum().backward()
            gradients.append([p.grad for p in network.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("variant", ["ir", "ip"])
def test_an_untrained_network_starts_from_rare_fractures(variant):
    torch.manual_seed(0)
    network = CsnClassifier(ClassifierSettings(variant, 50, 8)).eval()
    with torch.no_grad():
        probabilities = torch.sigmoid(network(torch.randn(2, 3, 8, 32, 32)))
    assert probabilities.mean().item() == pytest.approx(0.1, abs=0.05)
