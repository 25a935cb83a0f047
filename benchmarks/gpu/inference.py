"""Masks of 541 slices with one and four networks, and the crops of a study with a classifier."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.gpu.bench import Bench
from spine_models.inference.classify import ClassifySettings, CropClassifier
from spine_models.inference.masks import InferenceSettings, predict_mask, prepared
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.unet import CsnUNet, UNetSettings


def measure(bench: Bench) -> None:
    torch.manual_seed(0)
    for count in (1, 4):
        _mask(bench, count)
    for variant in ("ir", "ip"):
        _crops(bench, variant)


def _mask(bench: Bench, count: int) -> None:
    slices, side, base = (541, 256, 64) if bench.real else (40, 32, 8)
    windows = InferenceSettings(384, 128, 32, 1) if bench.real else InferenceSettings(32, 8, 8, 1)
    volume = np.random.default_rng(0).integers(-1000, 2000, (slices, side, side)).astype(np.int16)
    networks = [prepared(CsnUNet(UNetSettings(base_channels=base)).eval(), bench.device) for _ in range(count)]

    def predict() -> object:
        return predict_mask(volume, 0.0, 500.0, networks, windows)

    with bench.case(f"mask of {slices} slices, {count} networks") as facts:
        facts["first_s"] = bench.seconds_of(predict)
        facts["seconds"] = bench.seconds(predict, repeats=3, budget=8.0)
        facts.update(bench.peak(), ok=True)


def _crops(bench: Bench, variant: str) -> None:
    shape = (14, 3, 40, 256, 256) if bench.real else (2, 3, 8, 32, 32)
    crops = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    settings = ClassifierSettings(variant, 152, 64) if bench.real else ClassifierSettings(variant, 50, 8)
    classifier = CropClassifier(CsnClassifier(settings).eval(), bench.device, ClassifySettings())
    with bench.case(f"{len(crops)} crops, {variant}") as facts:
        facts["seconds"] = bench.seconds(lambda: classifier.probabilities(crops), repeats=3, budget=5.0)
        facts.update(bench.peak(), ok=bool(np.isfinite(classifier.probabilities(crops[:4])).all()))
