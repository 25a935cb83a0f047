"""Masks by networks that are known functions, and by real ones."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_models.compute.inference_network import InferenceNetwork, NonFiniteOutputError
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from tests import tiny
from tests.fake_tensors import fake_tensors
from tests.gpu_troubles import overflowing

WINDOWS = SlidingWindowSettings(window=16, overlap=8, z_multiple=8, batch=2)
CPU = torch.device("cpu")


def _predict(volume, mean, std, networks, windows=WINDOWS):
    return MaskPredictor([InferenceNetwork(network, CPU) for network in networks], windows).mask(volume, mean, std)


def _stairs(depth=20):
    """A volume whose slice z has the HU value of level z % 8 under mean -400 and standard deviation 100."""
    volume = np.empty((depth, 32, 32), np.int16)
    volume[:] = (-400 + 100 * (np.arange(depth) % 8))[:, None, None]
    return volume


def test_the_mask_is_the_most_probable_class_of_the_standardised_volume():
    network = tiny.Levels()
    mask = _predict(_stairs(), -400.0, 100.0, [network])
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[:, 5, 5], np.arange(20) % 8)
    assert np.isclose(network.smallest, -6.0)  # 20 slices are padded to 24, with air: (-1000 + 400) / 100


def test_the_padding_can_be_the_mean():
    network = tiny.Levels()
    mask = _predict(_stairs(), -400.0, 100.0, [network], dataclasses.replace(WINDOWS, z_fill="mean"))
    np.testing.assert_array_equal(mask[:, 5, 5], np.arange(20) % 8)
    assert network.smallest == 0.0  # no slice of the volume is below the mean


def test_networks_are_averaged_as_probabilities_neither_as_votes_nor_as_logits():
    volume = np.full((8, 32, 32), -200, np.int16)  # 2 in standardised values
    sure = tiny.Levels(50.0)
    unsure, fairly_sure = [tiny.Levels(0.05, 1.0)] * 2, [tiny.Levels(3.0, 1.0)] * 2
    for others, level in ((unsure, 2), (fairly_sure, 3)):
        assert set(np.unique(_predict(volume, -400.0, 100.0, [sure, *others]))) == {level}
        # By votes it would be 3 both times, by the sum of the logits 2.
        assert set(np.unique(_predict(volume, -400.0, 100.0, others))) == {3}
        value = torch.full((1, 1, 1, 1, 1), 2.0)
        assert int(sum(network(value) for network in [sure, *others]).argmax()) == 2


def test_folded_channels_last_networks_in_windows_equal_the_plain_ones():
    models = [tiny.segmentation_network(seed) for seed in range(2)]
    volume = np.random.default_rng(0).integers(-1000, 1500, (16, 32, 32)).astype(np.int16)
    mask = _predict(volume, 100.0, 400.0, models)
    with torch.no_grad():
        image = torch.from_numpy((volume.astype(np.float32) - 100) / 400)[None, None]
        plain = sum(torch.softmax(model(image), dim=1) for model in models)[0]
    best, second = plain.topk(2, dim=0).values
    clear = (best - second > 1e-3).numpy()
    assert clear.mean() > 0.5
    assert len(np.unique(mask)) > 1
    np.testing.assert_array_equal(mask[clear], plain.argmax(dim=0).numpy()[clear])


def test_flips_are_averaged_as_probabilities_of_each_voxel():
    """With both, a mirrored volume has the mirrored mask; by itself the network sees left and right differently."""
    networks = [InferenceNetwork(tiny.segmentation_network(seed), CPU) for seed in range(2)]
    volume = np.random.default_rng(0).integers(-1000, 1500, (16, 32, 32)).astype(np.int16)
    mirrored = volume[..., ::-1].copy()
    equal = []
    for flips in (("none",), ("none", "horizontal")):
        predictor = MaskPredictor(networks, dataclasses.replace(WINDOWS, flips=flips))
        one, other = (predictor.mask(part, 100.0, 400.0) for part in (volume, mirrored))
        assert len(np.unique(one)) > 1
        equal.append(np.mean(one == other[..., ::-1]))
    assert equal[0] < 0.99
    assert equal[1] > 0.999


def test_an_output_that_is_not_finite_is_refused():
    networks = [tiny.Levels(), tiny.Levels(float("nan"))]
    with pytest.raises(NonFiniteOutputError):
        _predict(_stairs(), -400.0, 100.0, networks)


def test_a_study_that_overflows_in_half_precision_is_predicted_once_more_in_float32(monkeypatch, capsys):
    expected = _predict(_stairs(), -400.0, 100.0, [tiny.Levels()])
    overflowing(monkeypatch)
    predictor = MaskPredictor([InferenceNetwork(tiny.Levels(), CPU)], WINDOWS)
    np.testing.assert_array_equal(predictor.mask(_stairs(), -400.0, 100.0), expected)
    assert predictor.repeated == 1
    assert "fp16 overflowed in this study" in capsys.readouterr().err


def test_an_output_that_is_not_finite_in_float32_either_is_refused(monkeypatch):
    overflowing(monkeypatch, ("fp16", "fp32"))
    with pytest.raises(NonFiniteOutputError, match="computed in fp32"):
        _predict(_stairs(), -400.0, 100.0, [tiny.Levels()])


def test_four_networks_hold_little_more_than_one(monkeypatch):
    """One after the other, each adds its probabilities to the sum: a second one holds one array more."""
    peaks = []
    for count in (1, 2, 4):
        with fake_tensors() as held, torch.no_grad():
            images = torch.empty(1, 1, 64, 64, 64)
            networks = [FakeLogits() for _ in range(count)]
            total = MaskPredictor(networks, WINDOWS)._mean_probabilities(
                torch.ones((), dtype=torch.bool), "fp32", images
            )
            peaks.append(held.peak / (total.numel() * 4))
    assert peaks[2] == peaks[1]
    assert peaks[1] <= peaks[0] + 1.01


class FakeLogits:
    """Returns logits of eight classes."""

    precision = "fp32"
    device = CPU

    def logits(self, images, precision):
        return images.expand(-1, 8, -1, -1, -1) * 2.0


def _peak_bytes():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_a_long_volume_takes_no_memory_for_its_probabilities():
    """Of eight classes they would take 32 bytes a voxel."""
    volume = np.zeros((6000, 96, 96), np.int16)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (proc(5))
    except OSError:
        pytest.skip("this machine does not let a process ask for its peak of memory anew")
    before = _peak_bytes()
    mask = _predict(volume, -400.0, 100.0, [tiny.Levels()], dataclasses.replace(WINDOWS, window=64, batch=1))
    assert mask.shape == volume.shape
    assert (_peak_bytes() - before) / volume.size < 20
