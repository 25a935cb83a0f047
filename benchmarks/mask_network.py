"""The mask network on one window beside PyTorch eager: the same weights as plain convolutions, unfolded.

    python -m benchmarks mask_network

A window of 64 x 256 x 256 in float32, on one thread and on two. What is compared computes like a network as it was
trained: PyTorch's own convolutions in the plain layout, with batch norm. A row says by how much the logits differ.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.alternating import alternating
from benchmarks.row import Row, at_most
from benchmarks.threads import torch_threads
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.models.convolutions import use_plain
from spine_models.models.unet import CsnUNet, UNetSettings

_ROUNDS = 3
_TARGET = 1.8
_TOLERANCE = 1e-3


def measure() -> list[Row]:
    """Predict one window both ways, on one thread and on two."""
    torch.manual_seed(0)
    network = CsnUNet(UNetSettings()).eval()
    image = torch.randn(1, 1, 64, 256, 256)
    ours = InferenceNetwork(network, torch.device("cpu"), "fp32")
    # The folded copy is made before, so that its convolutions stay ours.
    use_plain(network)
    return [row for threads in (1, 2) for row in _rows(ours, network, image, threads)]


def _rows(ours: InferenceNetwork, plain: CsnUNet, image: torch.Tensor, threads: int) -> Iterator[Row]:
    @torch.inference_mode()
    def eager() -> torch.Tensor:
        logits: torch.Tensor = plain(image)
        return logits

    name = f"mask network, 64 x 256 x 256, threads: {threads}"
    with torch_threads(threads):
        times = alternating(lambda: ours.logits(image), eager, _ROUNDS)
        expected = eager()
        difference = float((ours.logits(image) - expected).abs().max() / expected.abs().max())
    yield times.row(f"{name}: beside PyTorch eager", _TARGET)
    yield at_most(f"{name}: largest difference, share of the largest logit", difference, 0.0, difference, _TOLERANCE)
