"""Depthwise and pointwise convolutions, pooling and the loss, each beside what could take its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from benchmarks.gpu.bench import GIB, Bench, error
from spine_models.compute.devices import use_device
from spine_models.models.losses import LossSettings, segmentation_loss

CROPS = 16
DEPTHWISE = (
    # Channels, size (z, y, x) of the input, stride: every depthwise convolution of a CSN on crops of (40, 256, 256).
    (64, (40, 64, 64), 1),
    (128, (40, 64, 64), 2),
    (128, (20, 32, 32), 1),
    (256, (20, 32, 32), 2),
    (256, (10, 16, 16), 1),
    (512, (10, 16, 16), 2),
    (512, (5, 8, 8), 1),
)
POINTWISE = (
    # Channels in and out, size (z, y, x).
    (64, 256, (40, 64, 64)),
    (256, 64, (40, 64, 64)),
    (512, 128, (20, 32, 32)),
    (1024, 256, (10, 16, 16)),
    (512, 2048, (5, 8, 8)),
)
LAYOUTS = {"ncdhw": torch.contiguous_format, "ndhwc": torch.channels_last_3d}
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def measure(bench: Bench) -> None:
    use_device(bench.kind, int(bench.real), len(os.sched_getaffinity(0)))
    for kind in TYPES:
        for layout in LAYOUTS:
            _depthwise(bench, kind, layout)
    _pointwise(bench)
    _pooling(bench)
    _loss(bench)


def _depthwise(bench: Bench, kind: str, layout: str) -> None:
    for channels, size, stride in DEPTHWISE:
        with bench.case(f"depthwise {channels} {size} stride {stride} {kind} {layout}") as facts:
            image = _image(bench, channels, size, kind, layout)
            kernel = torch.randn(channels, 1, 3, 3, 3, device=bench.device, dtype=TYPES[kind], requires_grad=True)
            forward = partial(functional.conv3d, image, kernel, None, stride, 1, groups=channels)
            facts.update(_times(bench, forward, image, kernel))


def _pointwise(bench: Bench) -> None:
    for inner, outer, size in POINTWISE:
        kernel = torch.randn(outer, inner, device=bench.device, dtype=torch.bfloat16, requires_grad=True)
        for layout in LAYOUTS:
            image = _image(bench, inner, size, "bf16", layout)
            for way in (_as_convolution, _as_product):
                with bench.case(f"pointwise {inner} to {outer} {size} bf16 {layout}{way.__name__}") as facts:
                    facts.update(_times(bench, partial(way, image, kernel), image, kernel))


def _as_convolution(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    return functional.conv3d(image, kernel[:, :, None, None, None])


def _as_product(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Compute it without a transpose in either layout."""
    if image.is_contiguous():
        return (kernel @ image.flatten(2)).unflatten(2, image.shape[2:])
    return functional.linear(image.permute(0, 2, 3, 4, 1), kernel).permute(0, 4, 1, 2, 3)


def _pooling(bench: Bench) -> None:
    image = _image(bench, 64, (40, 128, 128), "bf16", "ncdhw")

    def in_3d() -> torch.Tensor:
        return functional.max_pool3d(image, (1, 3, 3), (1, 2, 2), (0, 1, 1))

    def in_2d() -> torch.Tensor:
        slices = functional.max_pool2d(image.flatten(1, 2), 3, 2, 1)
        return slices.unflatten(1, image.shape[1:3])

    for name, forward in {"max_pool3d": in_3d, "max_pool2d over flattened slices": in_2d}.items():
        with bench.case(name) as facts:
            facts.update(_times(bench, forward, image))
    with bench.case("both poolings") as facts:
        gradients = []
        for forward in (in_3d, in_2d):
            output = forward()
            gradients.append((output, *torch.autograd.grad(output, image, torch.ones_like(output))))
        facts["ok"] = all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
        facts["gradient_difference"] = error(gradients[1][1], gradients[0][1])


def _loss(bench: Bench) -> None:
    shape = (4, 8, 64, 256, 256) if bench.real else (1, 8, 8, 32, 32)
    logits = torch.randn(shape, device=bench.device, requires_grad=True)
    labels = torch.randint(0, 8, (shape[0], *shape[2:]), device=bench.device, dtype=torch.uint8)
    with bench.case("segmentation loss") as facts:

        def forward() -> torch.Tensor:
            return segmentation_loss(logits, labels, LossSettings()).total

        # There is one backward pass for each forward pass, so that the two are timed together.
        facts["forward_ms"] = 1000 * bench.seconds(forward, repeats=5, budget=0.4)
        both = bench.seconds(lambda: torch.autograd.grad(forward(), logits), repeats=5, budget=0.6)
        facts["backward_ms"] = 1000 * both - facts["forward_ms"]
        facts["tensors_gib"] = bench.peak().get("tensors_gib", 0.0)


def _times(bench: Bench, forward: Callable[[], torch.Tensor], *inputs: torch.Tensor) -> dict[str, Any]:
    """Return the milliseconds of the forward pass and of the backward pass by all ``inputs``."""
    output = forward()
    gradient = torch.randn_like(output)
    moved = sum(tensor.nbytes for tensor in (*inputs, output)) / GIB
    before = bench.seconds(forward, repeats=5, budget=0.4)
    after = bench.seconds(
        lambda: torch.autograd.grad(output, inputs, gradient, retain_graph=True), repeats=5, budget=0.6
    )
    return {"forward_ms": 1000 * before, "backward_ms": 1000 * after, "forward_gib_moved": moved}


def _image(bench: Bench, channels: int, size: tuple[int, ...], kind: str, layout: str) -> torch.Tensor:
    shape = (CROPS, channels, *size) if bench.real else (1, channels, *(max(4, side // 8) for side in size))
    image = torch.randn(shape, device=bench.device, dtype=TYPES[kind])
    return image.contiguous(memory_format=LAYOUTS[layout]).requires_grad_(True)
