"""Classifiers on the CPU beside mmaction2's network as it is: one crop, and a study of one crop with eight models.

    python -m benchmarks classifier_network

Crops of 40 x 256 x 256 for networks of 152 layers with random weights. What is compared computes crop by crop and model
by model as mmaction2's network does in PyTorch: its own convolutions in the plain layout, float32, with batch norm.
Ours computes as a prediction of new studies does: in float32, or in bf16 on a CPU that computes in it. The study is
timed model by model in turns, and its row has the sum. A row says by how much the probabilities differ.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from benchmarks.alternating import Times, alternating
from benchmarks.row import Row, at_least, at_most
from benchmarks.threads import torch_threads
from spine_models.compute.crop_predictor import CropPredictor
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.network_input import classifier_input
from spine_models.compute.precision import Precision, classifier_precision
from spine_models.data.crops.crop import ClassifierCrop
from spine_models.models.batch_norm import batch_norms
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.convolutions import use_plain

_ROUNDS = 3
_ONE_CROP: dict[Precision, float] = {"fp32": 1.8, "bf16": 4.0}
_STUDY = 3.5
_TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 1e-2}


class _Pair:
    """One classifier both ways, and the crop that it gets."""

    def __init__(self, mode: str, seed: int, precision: Precision) -> None:
        torch.manual_seed(seed)
        self._plain = _classifier(mode)
        self._ours = CropPredictor(InferenceNetwork(self._plain, torch.device("cpu"), precision))
        # The folded copy is made before, so that its convolutions stay ours.
        use_plain(self._plain)
        draw = np.random.default_rng(0)
        image, mask = draw.integers(-1000, 1500, (40, 256, 256)), draw.integers(0, 8, (40, 256, 256))
        self._crop = ClassifierCrop(image.astype(np.int16), mask.astype(np.uint8), np.float32(250), np.float32(700))

    def ours(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return self._ours.probabilities([self._crop])

    @torch.inference_mode()
    def eager(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        images = classifier_input(*(torch.as_tensor(part)[None] for part in self._crop))
        return torch.sigmoid(self._plain(images).double()).numpy()

    def times(self, rounds: int, warm: bool) -> tuple[Times, float]:
        """Return the times of both ways and the largest difference of their probabilities."""
        found: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
        times = alternating(
            lambda: found.update(ours=self.ours()), lambda: found.update(eager=self.eager()), rounds, warm=warm
        )
        assert np.isfinite(found["eager"]).all()
        return times, float(np.abs(found["ours"] - found["eager"]).max())


def measure() -> list[Row]:
    """Predict one crop on one thread and on two, in bf16 too where predictions do, and a study by eight models."""
    half = [] if classifier_precision("cpu") == "fp32" else [*_one_crop(1, "bf16")]
    return [*_one_crop(1, "fp32"), *_one_crop(2, "fp32"), *half, *_study()]


def _one_crop(threads: int, precision: Precision) -> Iterator[Row]:
    with torch_threads(threads):
        times, difference = _Pair("ir", 0, precision).times(_ROUNDS, warm=True)
    name = f"ir-CSN-152, one crop, {precision}, threads: {threads}"
    yield times.row(f"{name}: beside mmaction2 eager", _ONE_CROP[precision])
    yield _difference(name, difference, precision)


def _study() -> Iterator[Row]:
    precision = classifier_precision("cpu")
    total, largest = Times(), 0.0
    with torch_threads(1):
        for number in range(8):
            times, difference = _Pair("ir" if number % 2 else "ip", number, precision).times(1, warm=False)
            total.ours += times.ours
            total.other += times.other
            largest = max(largest, difference)
    name = f"a study of one crop, 8 models, {precision}, threads: 1"
    ours, other = sum(total.ours), sum(total.other)
    yield at_least(f"{name}: beside mmaction2 eager one by one, ms", 1e3 * ours, 1e3 * other, other / ours, _STUDY)
    yield _difference(name, largest, precision)


def _difference(name: str, difference: float, precision: Precision) -> Row:
    return at_most(f"{name}: largest difference of a probability", difference, 0.0, difference, _TOLERANCE[precision])


def _classifier(mode: str) -> CsnClassifier:
    """Return a classifier in evaluation whose batch norms and head do something."""
    network = CsnClassifier(ClassifierSettings(mode, 152))
    nn.init.normal_(network.head.weight, std=0.05)
    with torch.no_grad():
        for norm in batch_norms(network):
            norm.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
            norm.weight.uniform_(0.1, 0.5)
    return network.eval()
