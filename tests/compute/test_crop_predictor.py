"""The fast way through a classifier gives what the plain one gives."""

import numpy as np
import pytest
import torch

from spine_models.compute.crop_predictor import CropPredictor
from spine_models.compute.inference_network import InferenceNetwork, NonFiniteOutputError
from spine_models.data.crops.crop import ClassifierCrop
from spine_models.evaluation.aggregate import study_probabilities
from tests import tiny
from tests.gpu_troubles import overflowing

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def crops():
    random = np.random.default_rng(2)
    return [
        ClassifierCrop(
            random.integers(-1000, 1500, (8, 32, 32), dtype=np.int16),
            random.integers(0, 8, (8, 32, 32), dtype=np.uint8),
            np.float32(-100.0 + 10 * number),
            np.float32(400.0 + 10 * number),
        )
        for number in range(5)
    ]


def _input(crop):
    image = (crop.image.astype(np.float32) - crop.mean) / crop.std
    return torch.from_numpy(np.stack([image, image, crop.mask.astype(np.float32)])[None])


@pytest.mark.parametrize("variant", ["ir", "ip"])
def test_folded_and_batched_equals_plain(crops, variant):
    network = tiny.classifier(variant)
    with torch.inference_mode():
        plain = np.concatenate([torch.sigmoid(network(_input(crop))).numpy() for crop in crops])
    assert plain.std(axis=0).max() > 1e-3
    predictor = CropPredictor(InferenceNetwork(network, CPU), batch=2)
    np.testing.assert_allclose(predictor.probabilities(iter(crops)), plain, atol=1e-5)
    np.testing.assert_allclose(predictor.study(crops), study_probabilities(list(plain)), atol=1e-5)


def test_on_the_cpu_a_crop_has_the_same_bits_whatever_goes_with_it(crops):
    predictor = CropPredictor(InferenceNetwork(tiny.classifier("ip"), CPU))
    alone = np.concatenate([predictor.probabilities([crop]) for crop in crops])
    np.testing.assert_array_equal(predictor.probabilities(crops), alone)
    np.testing.assert_array_equal(predictor.probabilities(crops[::-1]), alone[::-1])


def test_arrays_and_tensors_give_the_same(crops):
    predictor = CropPredictor(InferenceNetwork(tiny.classifier("ir"), CPU))
    tensors = [ClassifierCrop(*(torch.as_tensor(part) for part in crop)) for crop in crops]
    np.testing.assert_array_equal(predictor.probabilities(tensors), predictor.probabilities(crops))


def test_flips_are_averaged_as_probabilities_of_each_crop(crops):
    network = InferenceNetwork(tiny.classifier("ir"), CPU)
    turned = [crop._replace(image=crop.image[..., ::-1].copy(), mask=crop.mask[..., ::-1].copy()) for crop in crops]
    plain, mirrored = (CropPredictor(network).probabilities(images) for images in (crops, turned))
    assert np.abs(plain - mirrored).max() > 1e-4
    both = CropPredictor(network, ("none", "horizontal"), batch=3)
    np.testing.assert_allclose(both.probabilities(crops), (plain + mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(CropPredictor(network, ("horizontal",)).probabilities(crops), mirrored, atol=1e-6)
    np.testing.assert_allclose(both.study(crops), study_probabilities(list((plain + mirrored) / 2)), atol=1e-6)


@pytest.mark.parametrize("target", [0, 5])
def test_attention_is_the_image_times_the_gradient_by_it_slice_by_slice(crops, target):
    network = tiny.classifier("ir")
    # Written anew: the image stands twice in the input, so that one change of it counts in both channels.
    image = torch.from_numpy((crops[1].image.astype(np.float32) - crops[1].mean) / crops[1].std).requires_grad_(True)
    mask = torch.from_numpy(crops[1].mask.astype(np.float32))
    network(torch.stack([image, image, mask])[None])[0, target].backward()
    expected = (image.grad * image.detach()).abs().sum(dim=(1, 2)).numpy()
    found = CropPredictor(InferenceNetwork(network, CPU)).attention(crops[1], target)
    assert found.shape == (8,)
    assert found.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert all(parameter.grad is None or parameter.requires_grad for parameter in network.parameters())


def test_no_crop_gives_no_row_and_no_probabilities_of_the_study():
    predictor = CropPredictor(InferenceNetwork(tiny.classifier("ir"), CPU))
    assert predictor.probabilities([]).shape == (0, 8)
    assert predictor.study([]) is None


def test_an_output_that_is_not_finite_is_refused(crops):
    predictor = CropPredictor(InferenceNetwork(tiny.classifier("ir"), CPU))
    crops = [*crops[:2], crops[2]._replace(mean=np.float32("nan"))]
    with pytest.raises(NonFiniteOutputError):
        predictor.study(crops)


def test_a_batch_that_overflows_in_half_precision_is_predicted_once_more_in_float32(crops, monkeypatch, capsys):
    expected = CropPredictor(InferenceNetwork(tiny.classifier("ir"), CPU)).probabilities(crops)
    overflowing(monkeypatch)
    predictor = CropPredictor(InferenceNetwork(tiny.classifier("ir"), CPU))
    np.testing.assert_array_equal(predictor.probabilities(crops), expected)
    assert predictor.repeated == len(crops)
    assert "fp16 overflowed in this study" in capsys.readouterr().err


def test_an_output_that_is_not_finite_in_float32_either_is_refused(crops, monkeypatch):
    overflowing(monkeypatch, ("fp16", "fp32"))
    with pytest.raises(NonFiniteOutputError, match="computed in fp32"):
        CropPredictor(InferenceNetwork(tiny.classifier("ir"), CPU)).study(crops)
