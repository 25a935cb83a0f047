"""The decoder's factorised convolutions in several ways: each by itself, and in the whole step of the segmentation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.gpu.bench import Bench, error
from benchmarks.gpu.steps import training_step
from spine_models.commands.training_needs import read_configuration
from spine_models.compute.devices import use_device

PLANE = ((40, 32, (64, 256, 256)), (104, 40, (64, 128, 128)))
AXIAL = ((32, (64, 256, 256)), (40, (64, 128, 128)))
_WINDOWS = 4
Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def plane_3d(image: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return functional.conv3d(image, kernel, bias, padding=(0, 1, 1))


def plane_2d(image: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    n, c, z, y, x = image.shape
    slices = image.transpose(1, 2).reshape(n * z, c, y, x)
    found = functional.conv2d(slices, kernel.squeeze(2), bias, padding=1)
    return found.view(n, z, -1, y, x).transpose(1, 2).contiguous()


def plane_2d_last(image: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    n, c, z, y, x = image.shape
    slices = image.permute(0, 2, 3, 4, 1).contiguous().view(n * z, y, x, c).permute(0, 3, 1, 2)
    found = functional.conv2d(slices, kernel.squeeze(2), bias, padding=1)
    return found.permute(0, 2, 3, 1).reshape(n, z, y, x, -1).permute(0, 4, 1, 2, 3).contiguous()


def axial_3d(image: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return functional.conv3d(image, kernel, bias, padding=(1, 0, 0))


def axial_rows(image: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    rows = functional.conv2d(image.flatten(3), kernel.squeeze(-1), bias, padding=(1, 0))
    return rows.view(*rows.shape[:3], *image.shape[3:])


PLANE_WAYS: tuple[Way, ...] = (plane_3d, plane_2d, plane_2d_last)
AXIAL_WAYS: tuple[Way, ...] = (axial_3d, axial_rows)


def measure(bench: Bench) -> None:
    use_device(bench.kind, int(bench.real), 4)
    for channels, filters, size in PLANE:
        _alone(bench, channels, filters, size, (1, 3, 3), PLANE_WAYS)
    for channels, size in AXIAL:
        _alone(bench, channels, channels, size, (3, 1, 1), AXIAL_WAYS)
    pairs = [(plane_3d, axial_3d), (plane_2d, axial_3d), (plane_2d, axial_rows), (plane_3d, axial_3d)]
    for plane, axial in pairs:
        _whole(bench, plane, axial)


def _alone(
    bench: Bench, channels: int, filters: int, size: tuple[int, ...], window: tuple[int, ...], ways: tuple[Way, ...]
) -> None:
    size = size if bench.real else (8, 16, 16)
    torch.manual_seed(0)
    kind = torch.bfloat16 if bench.real else torch.float32
    image = torch.randn(_WINDOWS, channels, *size, device=bench.device, dtype=kind).requires_grad_()
    kernel = (torch.randn(filters, channels, *window, device=bench.device) / channels).to(kind).requires_grad_()
    bias = torch.randn(filters, device=bench.device, dtype=kind).requires_grad_()
    gradient = torch.randn(_WINDOWS, filters, *size, device=bench.device, dtype=kind)
    reference: list[torch.Tensor] = []
    for way in ways:
        with bench.case(f"{way.__name__} {channels} to {filters} {size}") as facts:
            output = way(image, kernel, bias)
            found = [output.detach(), *torch.autograd.grad(output, (image, kernel), gradient, retain_graph=True)]
            reference = reference or found
            facts["differences"] = [
                float(f"{error(one, other):.2g}") for one, other in zip(found, reference, strict=True)
            ]
            facts["ok"] = max(facts["differences"]) < 1e-2
            del found
            facts["forward_ms"] = 1000 * bench.seconds(partial(way, image, kernel, bias), 3, 0.5)
            for name, inputs in {"image": image, "kernel": kernel}.items():
                back = partial(torch.autograd.grad, output, inputs, gradient, retain_graph=True)
                facts[f"by_{name}_ms"] = 1000 * bench.seconds(back, 3, 0.5)
            del output


def _whole(bench: Bench, plane: Way, axial: Way) -> None:
    config = read_configuration([Path(__file__).resolve().parents[2] / "presets" / "original-4x48g.yaml"])

    def change(network: nn.Module) -> None:
        for part in network.modules():
            if isinstance(part, nn.Conv3d) and part.kernel_size in ((1, 3, 3), (3, 1, 1)) and part.groups == 1:
                way = plane if part.kernel_size == (1, 3, 3) else axial
                part.forward = partial(_forward, part, way)  # type: ignore[method-assign]

    with bench.case(f"segmentation step: {plane.__name__}, {axial.__name__}") as facts:
        step, _ = training_step(bench, config, "segmentation", "ncdhw", change)
        facts["first_s"] = bench.seconds_of(step)
        bench.clean()
        facts["seconds"] = bench.seconds(step, 3, 3.0)
        facts["loss"] = float(step())
        facts.update(bench.peak())


def _forward(part: Any, way: Way, image: torch.Tensor) -> torch.Tensor:
    if torch.is_autocast_enabled(image.device.type):
        kind = torch.get_autocast_dtype(image.device.type)
        return way(image.to(kind), part.weight.to(kind), part.bias.to(kind))
    return way(image, part.weight, part.bias)
