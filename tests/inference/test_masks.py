"""Masks are checked as a spine, on the half grid."""

import numpy as np
import torch

from benchmarks.tiny_data import volume_facts
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.data.crops.plausibility import PlausibilitySettings
from spine_models.inference.masks import checked_mask
from tests import tiny

WINDOWS = SlidingWindowSettings(window=16, overlap=8, z_multiple=8, batch=2)
PLAUSIBILITY = PlausibilitySettings(0.1, "neighbours")


def test_a_mask_is_checked_with_the_spacing_of_the_half_grid():
    volume = np.full((40, 32, 32), -400, np.int16)
    volume[4:14, 8:18, 8:18], volume[24:34, 8:18, 8:18] = -100, 100  # C3 and C5
    volume[20, 30, 30:32] = 0  # a speck of C4
    volume[10, 30, 30] = -100  # a speck of C3
    facts = volume_facts(mean=-400.0, std=100.0, spacing_mm=(2.0, 1.5, 1.0))
    predictor = MaskPredictor([InferenceNetwork(tiny.Levels(), torch.device("cpu"))], WINDOWS)
    assert facts.half_spacing_mm == (2.0, 3.0, 2.0)
    mask, found = checked_mask(volume, facts, predictor, PLAUSIBILITY)
    assert mask[10, 30, 30] == 0
    assert mask[20, 30, 30] == 4
    assert found.voxels == {"C3": 1000, "C4": 2, "C5": 1000}
    assert {(str(flag.code), flag.level) for flag in found.flags} == {("too_small", "C4")}
    volume[20, 30, 30:32] = -400
    _, found = checked_mask(volume, facts, predictor, PLAUSIBILITY)
    assert found.levels["C4"] == "interpolated"
    assert found.boxes["C4"] == (14, 24, 8, 18, 8, 18)
    facts = volume_facts(mean=-400.0, std=100.0, spacing_mm=(2.0, 0.7, 1.0))  # 14 mm deep on the half grid
    _, found = checked_mask(volume, facts, predictor, PLAUSIBILITY)
    assert {flag.level for flag in found.flags if flag.code == "too_small"} == {"C3", "C5"}
