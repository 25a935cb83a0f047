"""Networks, loss and gradients on the device against float64 on the CPU.

Outputs and the loss must be within ``BOUNDS``. A gradient goes through ReLUs and maxima, whose choices rounding can
flip; where the same type makes a larger error on the CPU than the bound, twice that error is what counts.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.gpu.bench import Bench, error
from spine_models.compute.devices import use_device
from spine_models.models.losses import LossSettings, segmentation_loss
from spine_models.models.networks import build
from spine_models.models.unet import CsnUNet, UNetSettings

BOUNDS = {"fp32": 1e-4, "tf32": 2e-3, "bf16": 2e-2, "fp16": 2e-2}
_NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}
_ON_CPU = {"fp32": "fp32", "tf32": "bf16", "bf16": "bf16", "fp16": "bf16"}
"""Type on the CPU whose error a gradient may make twice; there is no TF32 there, and fp16 is slow."""


@dataclass
class Result:
    """What one step gives: output, loss, gradient of all parameters in one vector."""

    output: torch.Tensor
    loss: torch.Tensor
    gradient: torch.Tensor


@dataclass
class Case:
    """A network with an input; ``loss`` maps its output to a scalar."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    loss: Callable[[torch.Tensor], torch.Tensor]


def measure(bench: Bench) -> None:
    use_device(bench.kind, int(bench.real), len(os.sched_getaffinity(0)))
    _loss_alone(bench)
    for case in _cases(bench.real):
        torch.manual_seed(0)
        network, image = case.build(), torch.randn(case.shape)
        reference = _result(copy.deepcopy(network).double(), image.double(), case.loss)
        ceilings = {
            kind: error(_result(copy.deepcopy(network), image, case.loss, kind).gradient, reference.gradient)
            for kind in ("fp32", "bf16")
        }
        for kind in BOUNDS if bench.real else ("fp32", "bf16"):
            with bench.case(f"{case.name} {kind}") as facts, _tf32(kind == "tf32"):
                found = _result(copy.deepcopy(network).to(bench.device), image.to(bench.device), case.loss, kind)
                facts.update(_verdict(found, reference, kind, 2.0 * ceilings[_ON_CPU[kind]]))


def _verdict(found: Result, reference: Result, kind: str, ceiling: float) -> dict[str, Any]:
    output, gradient = error(found.output, reference.output), error(found.gradient, reference.gradient)
    loss = error(found.loss, reference.loss)
    ok = max(output, loss) <= BOUNDS[kind] and gradient <= max(BOUNDS[kind], ceiling)
    return {
        "ok": ok,
        "output": output,
        "loss": loss,
        "gradient": gradient,
        "bound": BOUNDS[kind],
        "gradient_bound": max(BOUNDS[kind], ceiling),
    }


def _cases(real: bool) -> Iterator[Case]:
    base, depth, side = (64, 50, 64) if real else (8, 50, 32)
    unet = UNetSettings(base_channels=base)

    def classifier(mode: str) -> nn.Module:
        settings = {"kind": "csn", "mode": mode, "depth": depth, "base_channels": base, "dropout": 0.0}
        return build(settings, freeze_bn=True)

    yield Case("UNet, frozen", lambda: CsnUNet(unet, freeze_bn=True), (1, 1, 16, side, side), _segmentation)
    yield Case("ir, frozen", lambda: classifier("ir"), (2, 3, 8, side, side), _classification)
    yield Case("ip, frozen", lambda: classifier("ip"), (2, 3, 8, side, side), _classification)
    yield Case("UNet", lambda: CsnUNet(unet), (2, 1, 8, side, side), _segmentation)


def _segmentation(logits: torch.Tensor) -> torch.Tensor:
    labels = torch.arange(logits[:, 0].numel(), device=logits.device).view(logits[:, 0].shape) // 7 % 8
    return segmentation_loss(logits, labels.to(torch.uint8), LossSettings()).total


def _classification(logits: torch.Tensor) -> torch.Tensor:
    target = torch.arange(logits.numel(), device=logits.device).view(logits.shape) % 2
    return functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))


def _result(network: nn.Module, image: torch.Tensor, loss: Callable[..., torch.Tensor], kind: str = "fp64") -> Result:
    narrow = _NARROW.get(kind)
    with torch.autocast(image.device.type, narrow, enabled=narrow is not None):
        output = network(image)
    value = loss(output)
    # As a scaler does it: small gradients of fp16 would be zero.
    scale = 1024.0 if kind == "fp16" else 1.0
    (value * scale).backward()
    parts = [parameter.grad.flatten() / scale for parameter in network.parameters() if parameter.grad is not None]
    return Result(output.detach(), value.detach(), torch.cat(parts))


def _loss_alone(bench: Bench) -> None:
    """The loss in float32 on the device, with labels that are ignored and a class of few voxels."""
    torch.manual_seed(0)
    shape = (2, 8, 64, 128, 128) if bench.real else (2, 8, 8, 32, 32)
    logits = 4.0 * torch.randn(shape)
    labels = torch.randint(0, 8, (shape[0], *shape[2:]), dtype=torch.uint8)
    labels[:, 0] = 255
    found = []
    for values in (logits.double(), logits.to(bench.device)):
        values.requires_grad_(True)
        losses = segmentation_loss(values, labels.to(values.device), LossSettings())
        losses.total.backward()
        assert values.grad is not None
        found.append(Result(torch.stack([losses.focal, losses.jaccard]).detach(), losses.total.detach(), values.grad))
    with bench.case("loss fp32") as facts:
        facts.update(_verdict(found[1], found[0], "fp32", 0.0))


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
