"""Triton's depthwise convolutions beside PyTorch's: each shape, whole training steps, sizes of tiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.kernels import CROPS, DEPTHWISE, TYPES
from benchmarks.gpu.steps import training_step
from spine_models.commands.training_needs import read_configuration
from spine_models.compute.devices import use_device
from spine_models.models.convolutions import use_plain
from spine_models.models.depthwise import DepthwiseConv3d, use_depthwise

LAST_START_S = 46.0
"""Tiles and further types are measured as long as the block is younger than this."""
PARTS = ("output", "image", "weight")
"""The output, and the gradients by image and weights."""
SWEPT = (DEPTHWISE[0], DEPTHWISE[4], DEPTHWISE[1])
TILES = ((256, 4), (512, 8), (1024, 8), (128, 4))
"""Voxels of a tile and per thread, beside the kernels' own choice."""


def measure(bench: Bench) -> None:
    started = time.monotonic()
    use_device(bench.kind, int(bench.real), 4)
    for shape in DEPTHWISE:
        _both(bench, shape, "bf16")
    for variant in ("ir", "ip"):
        _steps(bench, variant)
    late = ([partial(_tile, bench, shape, tile) for shape in SWEPT for tile in TILES] if bench.real else []) + [
        partial(_both, bench, shape, kind) for kind in ("fp16", "fp32") for shape in DEPTHWISE
    ]
    for case in late:
        if time.monotonic() - started < LAST_START_S:
            case()


def _both(bench: Bench, shape: tuple[int, tuple[int, ...], int], kind: str) -> None:
    channels, size, stride = shape
    with bench.case(f"{channels} {size} stride {stride} {kind}") as facts:
        image, own, native = _layer(bench, channels, size, stride, kind)
        output = own(image)
        gradient = torch.randn_like(output)
        facts["first_s"] = bench.seconds_of(lambda: _gradients(own, image, gradient))
        exact = _exact(native, image, gradient)
        for name, layer in {"native": native, "triton": own}.items():
            output = layer(image)
            facts[f"{name}_forward_ms"] = 1000 * bench.seconds(partial(layer, image), repeats=5, budget=0.3)
            backward = partial(_backward, output, (image, layer.weight), gradient)
            facts[f"{name}_backward_ms"] = 1000 * bench.seconds(backward, repeats=5, budget=0.4)
            found = (output, *backward())
            errors = [_error(one, other) for one, other in zip(found, exact, strict=True)]
            facts.update({f"{name}_error_{what}": value for what, value in zip(PARTS, errors, strict=True)})
        again = (own(image), *_gradients(own, image, gradient))
        facts["same_bits"] = all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
        bound = 1e-5 if kind == "fp32" else 1e-2
        facts["ok"] = facts["same_bits"] and max(errors) < bound


def _layer(
    bench: Bench, channels: int, size: tuple[int, ...], stride: int, kind: str
) -> tuple[torch.Tensor, nn.Conv3d, nn.Conv3d]:
    torch.manual_seed(0)
    shape = (CROPS, channels, *size) if bench.real else (1, channels, *(max(4, side // 8) for side in size))
    image = torch.randn(shape, device=bench.device, dtype=TYPES[kind], requires_grad=True)
    settings: dict[str, Any] = {"groups": channels, "bias": False, "device": bench.device, "dtype": TYPES[kind]}
    own = DepthwiseConv3d(channels, channels, 3, stride, 1, **settings)
    native = nn.Conv3d(channels, channels, 3, stride, 1, **settings)
    native.load_state_dict(own.state_dict())
    return image, own, native


def _backward(output: torch.Tensor, inputs: Sequence[torch.Tensor], gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(output, inputs, gradient, retain_graph=True)


def _gradients(layer: nn.Conv3d, image: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return _backward(layer(image), (image, layer.weight), gradient)


def _exact(native: nn.Conv3d, image: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return output and gradients in float64."""
    double = nn.Conv3d(native.in_channels, native.in_channels, 3, native.stride, 1, groups=native.groups, bias=False)
    double = double.to(image.device, torch.float64)
    double.load_state_dict(native.state_dict())
    wide = image.detach().double().requires_grad_(True)
    output = double(wide)
    return output.detach(), *torch.autograd.grad(output, (wide, double.weight), gradient.double())


def _error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.detach().double() - exact).norm() / exact.norm())


def _steps(bench: Bench, variant: str) -> None:
    with bench.case(f"training step {variant} original-4x48g") as facts:
        config = read_configuration([Path(__file__).resolve().parents[2] / "presets" / "original-4x48g.yaml"])
        networks: list[nn.Module] = []
        step, _ = training_step(bench, config, f"classification {variant}", "ncdhw", networks.append)

        def with_convolutions(choose: Callable[[nn.Module], None]) -> None:
            choose(networks[0])
            step()

        ways = {"native": use_plain, "triton": use_depthwise}
        facts.update(_alternating(bench, {way: partial(with_convolutions, choose) for way, choose in ways.items()}, 5))
        facts.update(bench.peak(), ok=facts["gain"] >= 0.1 or not bench.real)


def _alternating(bench: Bench, ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the first and the median seconds of both ways, called in turn, and the gain of Triton's."""
    facts = {f"{way}_first_s": bench.seconds_of(call) for way, call in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            times[way].append(bench.seconds_of(call))
    medians = {way: statistics.median(values) for way, values in times.items()}
    facts.update({f"{way}_s": value for way, value in medians.items()})
    return {**facts, "gain": 1.0 - medians["triton"] / medians["native"]}


def _tile(bench: Bench, shape: tuple[int, tuple[int, ...], int], cut: tuple[int, int]) -> None:
    from spine_models.models import depthwise_kernels

    channels, size, stride = shape
    with bench.case(f"tile {cut} of {channels} {size} stride {stride} bf16") as facts:
        tile = depthwise_kernels.Tile(*cut)
        image, own, _ = _layer(bench, channels, size, stride, "bf16")
        image, weight = image.detach(), own.weight.detach()
        gradient = torch.randn_like(own(image))
        calls = {"weight_ms": lambda: depthwise_kernels.weight_gradient(gradient, image, stride, tile)}
        if stride == 1:
            calls["forward_ms"] = lambda: depthwise_kernels.convolve(image, weight, tile=tile)
        else:
            calls["image_ms"] = lambda: depthwise_kernels.image_gradient(gradient, weight, image.shape, 2, tile)
        for name, call in calls.items():
            facts[name] = 1000 * bench.seconds(call, repeats=5, budget=0.3)
