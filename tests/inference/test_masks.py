"""Masks of volumes whose networks are known functions, and of real ones."""

import dataclasses

import numpy as np
import torch
from torch import nn

from spine_models.data.crops.plausibility import PlausibilitySettings
from spine_models.inference.masks import (
    InferenceSettings,
    checked_mask,
    half_spacing,
    predict_mask,
    prepared,
)
from spine_models.models.unet import CsnUNet, UNetSettings

WINDOWS = InferenceSettings(window=16, overlap=8, z_multiple=8, batch=2)
PLAUSIBILITY = PlausibilitySettings(0.1, "neighbours")
CPU = torch.device("cpu")


class Levels(nn.Module):
    """Calls a voxel of standardised value v level round(v); remembers the smallest value that it saw."""

    def __init__(self, sharpness: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(sharpness))
        self.offset = offset
        self.smallest = 0.0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.smallest = min(self.smallest, float(image.min()))
        classes = torch.arange(8.0).reshape(1, 8, 1, 1, 1)
        return -self.sharpness * (image + self.offset - classes) ** 2


def _stairs(depth=20):
    """A volume whose slice z has the HU value of level z % 8 under mean -400 and standard deviation 100."""
    volume = np.empty((depth, 32, 32), np.int16)
    volume[:] = (-400 + 100 * (np.arange(depth) % 8))[:, None, None]
    return volume


def test_the_mask_is_the_most_probable_class_of_the_standardised_volume():
    network = Levels()
    mask = predict_mask(_stairs(), -400.0, 100.0, [network], WINDOWS)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[:, 5, 5], np.arange(20) % 8)
    assert np.isclose(network.smallest, -6.0)  # 20 slices are padded to 24, with air: (-1000 + 400) / 100


def test_the_padding_can_be_the_mean():
    network = Levels()
    mask = predict_mask(_stairs(), -400.0, 100.0, [network], dataclasses.replace(WINDOWS, z_fill="mean"))
    np.testing.assert_array_equal(mask[:, 5, 5], np.arange(20) % 8)
    assert network.smallest == 0.0  # no slice of the volume is below the mean


def test_networks_are_averaged_as_probabilities_neither_as_votes_nor_as_logits():
    volume = np.full((8, 32, 32), -200, np.int16)  # 2 in standardised values
    sure = Levels(50.0)
    unsure, fairly_sure = [Levels(0.05, 1.0)] * 2, [Levels(3.0, 1.0)] * 2
    for others, level in ((unsure, 2), (fairly_sure, 3)):
        assert set(np.unique(predict_mask(volume, -400.0, 100.0, [sure, *others], WINDOWS))) == {level}
        # By votes it would be 3 both times, by the sum of the logits 2.
        assert set(np.unique(predict_mask(volume, -400.0, 100.0, others, WINDOWS))) == {3}
        value = torch.full((1, 1, 1, 1, 1), 2.0)
        assert int(sum(network(value) for network in [sure, *others]).argmax()) == 2


def test_folded_channels_last_networks_in_windows_equal_the_plain_ones():
    torch.manual_seed(0)
    models = [CsnUNet(UNetSettings(base_channels=8, decoder_channels=(16, 8, 8, 8, 8))).eval() for _ in range(2)]
    for model in models:
        torch.nn.init.zeros_(model.head.bias)
        torch.nn.init.normal_(model.head.weight)
    volume = np.random.default_rng(0).integers(-1000, 1500, (16, 32, 32)).astype(np.int16)
    mask = predict_mask(volume, 100.0, 400.0, [prepared(model, CPU) for model in models], WINDOWS)
    with torch.no_grad():
        image = torch.from_numpy((volume.astype(np.float32) - 100) / 400)[None, None]
        plain = sum(torch.softmax(model(image), dim=1) for model in models)[0]
    best, second = plain.topk(2, dim=0).values
    clear = (best - second > 1e-3).numpy()
    assert clear.mean() > 0.5
    assert len(np.unique(mask)) > 1
    np.testing.assert_array_equal(mask[clear], plain.argmax(dim=0).numpy()[clear])


def test_a_mask_is_checked_with_the_spacing_of_the_half_grid():
    volume = np.full((40, 32, 32), -400, np.int16)
    volume[4:14, 8:18, 8:18], volume[24:34, 8:18, 8:18] = -100, 100  # C3 and C5
    volume[20, 30, 30:32] = 0  # a speck of C4
    volume[10, 30, 30] = -100  # a speck of C3
    facts = {"mean": -400.0, "std": 100.0, "spacing_mm": [2.0, 1.5, 1.0], "half_factor": 0.5}
    assert half_spacing(facts) == (2.0, 3.0, 2.0)
    mask, found = checked_mask(volume, facts, [Levels()], WINDOWS, PLAUSIBILITY)
    assert mask[10, 30, 30] == 0
    assert mask[20, 30, 30] == 4
    assert found.voxels == {"C3": 1000, "C4": 2, "C5": 1000}
    assert {(str(flag.code), flag.level) for flag in found.flags} == {("too_small", "C4")}
    volume[20, 30, 30:32] = -400
    _, found = checked_mask(volume, facts, [Levels()], WINDOWS, PLAUSIBILITY)
    assert found.levels["C4"] == "interpolated"
    assert found.boxes["C4"] == (14, 24, 8, 18, 8, 18)
    facts["spacing_mm"] = [2.0, 0.7, 1.0]  # 14 mm deep on the half grid
    _, found = checked_mask(volume, facts, [Levels()], WINDOWS, PLAUSIBILITY)
    assert {flag.level for flag in found.flags if flag.code == "too_small"} == {"C3", "C5"}
