"""Masks of 541 slices with one and four networks, and the crops of a study with a classifier."""

from __future__ import annotations

import os

import numpy as np
import torch

from benchmarks.gpu.bench import Bench
from spine_models.compute.crop_predictor import CropPredictor
from spine_models.compute.devices import use_device
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.data.crops.crop import ClassifierCrop
from spine_models.models.networks import build
from spine_models.models.unet import CsnUNet, UNetSettings

_LAPTOP_GIB = 15.0
"""What a card of 16 GB leaves to a process."""


def measure(bench: Bench) -> None:
    use_device(bench.kind, int(bench.real), len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    for count in (1, 4):
        _mask(bench, count)
    bench.cap(_LAPTOP_GIB)
    _mask(bench, 4, f" under {_LAPTOP_GIB} GiB")
    bench.cap(None)
    for mode in ("ir", "ip"):
        _crops(bench, mode)


def _mask(bench: Bench, count: int, where: str = "") -> None:
    slices, side, base = (541, 256, 64) if bench.real else (40, 32, 8)
    windows = SlidingWindowSettings(384, 128, 32, 1) if bench.real else SlidingWindowSettings(32, 8, 8, 1)
    volume = np.random.default_rng(0).integers(-1000, 2000, (slices, side, side)).astype(np.int16)
    unet = UNetSettings(base_channels=base)
    networks = [InferenceNetwork(CsnUNet(unet).eval(), bench.device) for _ in range(count)]
    predictor = MaskPredictor(networks, windows)

    def predict() -> object:
        return predictor.mask(volume, 0.0, 500.0)

    with bench.case(f"mask of {slices} slices, {count} networks{where}") as facts:
        facts["first_s"] = bench.seconds_of(predict)
        facts["seconds"] = bench.seconds(predict, repeats=3, budget=8.0)
        facts.update(bench.peak(), ok=True)


def _crops(bench: Bench, mode: str) -> None:
    count, *shape = (14, 40, 256, 256) if bench.real else (2, 8, 32, 32)
    random = np.random.default_rng(0)
    crops = [
        ClassifierCrop(
            random.integers(-1000, 2000, shape, dtype=np.int16),
            random.integers(0, 8, shape, dtype=np.uint8),
            np.float32(0.0),
            np.float32(500.0),
        )
        for _ in range(count)
    ]
    size = {"depth": 152, "base_channels": 64} if bench.real else {"depth": 50, "base_channels": 8}
    network = build({"kind": "csn", "mode": mode, "dropout": 0.5, **size}).eval()
    predictor = CropPredictor(InferenceNetwork(network, bench.device))
    with bench.case(f"{len(crops)} crops, {mode}") as facts:
        facts["seconds"] = bench.seconds(lambda: predictor.probabilities(crops), repeats=3, budget=5.0)
        facts.update(bench.peak(), ok=bool(np.isfinite(predictor.probabilities(crops[:4])).all()))
