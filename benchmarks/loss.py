"""The segmentation's loss, forward and backward, beside one-hot targets in plain PyTorch and beside MONAI.

    python -m benchmarks loss

Logits of (2, 8, 64, 128, 128) in float32, on one thread of the CPU. The one-hot way is the formula of
``models.losses.segmentation_loss`` written down with one-hot targets and autograd; loss and gradient must agree.
``DiceFocalLoss(jaccard=True)`` of MONAI is another formula with the same parts; it is compared where MONAI is installed
(``benchmarks/requirements-peers.txt``). Memory is what a process holds at most beside logits and labels, the gradient
included.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.alternating import alternating
from benchmarks.row import Row, at_most
from benchmarks.threads import torch_threads
from spine_models.models.losses import JACCARD_EPS, LossSettings, segmentation_loss

_SHAPE = (2, 8, 64, 128, 128)
_FASTER, _MEMORY = 9.0, 0.2
_SETTINGS = LossSettings()
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def measure() -> list[Row]:
    """Time the ways in turns, and take the memory of two of them in a process each."""
    ways: dict[str, Loss] = {"one-hot PyTorch": one_hot}
    if importlib.util.find_spec("monai") is not None:
        ways["MONAI"] = monai()
    logits, labels = _inputs()
    _require_equal(logits, labels)
    rows = []
    with torch_threads(1):
        for name, way in ways.items():
            times = alternating(lambda: _gradient(ours, logits, labels), lambda w=way: _gradient(w, logits, labels), 3)
            rows.append(times.row(f"segmentation loss, beside {name}", _FASTER))
    if "MONAI" not in ways:
        rows.append(Row("segmentation loss, ms; MONAI is not installed", rows[0].ours, None, None, None, True))
    held = [_in_a_process(name) for name in ("ours", "one_hot")]
    rows.append(at_most("segmentation loss, memory beside one-hot, MB", *held, held[0] / held[1], _MEMORY))
    return rows


def ours(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss that trainings use."""
    return segmentation_loss(logits, labels, _SETTINGS).total


def one_hot(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the same by one-hot targets; every voxel has a label and every class more than a few voxels."""
    target = functional.one_hot(labels.long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    log_p = functional.log_softmax(logits, 1)
    p = log_p.exp()
    focal = -(target * (1 - p) ** _SETTINGS.focal_gamma * log_p).sum(1).mean()
    intersections, places = (p * target).sum((2, 3, 4)), (p + target).sum((2, 3, 4))
    ratios = (intersections + JACCARD_EPS) / (places - intersections + JACCARD_EPS)
    return focal + _SETTINGS.jaccard_weight * (1 - ratios)[:, 1:].mean()


def monai() -> Loss:
    """Return MONAI's sum of focal loss and soft Jaccard."""
    from monai.losses import DiceFocalLoss

    loss = DiceFocalLoss(include_background=False, to_onehot_y=True, softmax=True, jaccard=True, gamma=2.0)
    return lambda logits, labels: loss(logits, labels[:, None])  # type: ignore[no-any-return]


def held(name: str) -> float:
    """Return by how many MB a forward and a backward pass raise the most memory of this process."""
    logits, labels = _inputs()
    way = {"ours": ours, "one_hot": one_hot}[name]
    small = torch.randn(1, 8, 2, 2, 2, requires_grad=True), torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    with torch_threads(1):
        _gradient(way, *small)
        before = _most_mb()
        _gradient(way, logits, labels)
        return _most_mb() - before


def _in_a_process(name: str) -> float:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(held, name).result()


def _most_mb() -> float:
    # The figure of getrusage begins with what the starting process held.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(0, _SHAPE[1], (_SHAPE[0], *_SHAPE[2:]), dtype=torch.uint8)
    return torch.randn(_SHAPE, requires_grad=True), labels


def _gradient(loss: Loss, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss(logits, labels), logits)[0]


def _require_equal(logits: torch.Tensor, labels: torch.Tensor) -> None:
    small = logits.detach()[:, :, :8].double().requires_grad_(), labels[:, :8]
    torch.testing.assert_close(ours(*small), one_hot(*small), rtol=1e-6, atol=0)
    torch.testing.assert_close(_gradient(ours, *small), _gradient(one_hot, *small), rtol=1e-9, atol=1e-15)
