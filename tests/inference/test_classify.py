"""The fast way through a classifier gives what the plain one gives."""

import numpy as np
import pytest
import torch

from spine_models.inference.classify import ClassifySettings, CropClassifier, resolve_precision
from spine_models.models.weights import load_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def crops():
    random = np.random.default_rng(2)
    return [random.standard_normal((3, 8, 32, 32)).astype(np.float32) for _ in range(5)]


@pytest.mark.parametrize("variant", [0, 1])
def test_folded_and_batched_equals_plain(networks, crops, variant):
    model, _ = load_model(networks["classification"][variant], "classification")
    with torch.inference_mode():
        plain = np.concatenate([torch.sigmoid(model(torch.from_numpy(crop[None]))).numpy() for crop in crops])
    assert plain.std(axis=0).max() > 1e-3
    fast = CropClassifier(model, CPU, ClassifySettings(batch=2)).probabilities(iter(crops))
    np.testing.assert_allclose(fast, plain, atol=1e-5)


def test_no_crop_gives_no_row(networks):
    model, _ = load_model(networks["classification"][0], "classification")
    assert CropClassifier(model, CPU, ClassifySettings(batch=2)).probabilities([]).shape == (0, 8)


def test_half_precision_is_close(networks, crops):
    model, _ = load_model(networks["classification"][0], "classification")
    exact = CropClassifier(model, CPU, ClassifySettings(batch=5)).probabilities(crops)
    model, _ = load_model(networks["classification"][0], "classification")
    half = CropClassifier(model, CPU, ClassifySettings(batch=5, precision="bf16")).probabilities(crops)
    np.testing.assert_allclose(half, exact, atol=0.05)
    assert np.abs(half - exact).max() > 0
    assert resolve_precision("auto", CPU) == "fp32"
