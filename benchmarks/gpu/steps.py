"""Full-size training steps of both presets: seconds, and peak memory against ``resources`` and under the card's cap."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.bench import Bench
from spine_models.commands.training_needs import needs, read_configuration
from spine_models.compute.devices import use_device
from spine_models.configuration.trainings import classifier_recipe, segmentation_recipe
from spine_models.models.losses import segmentation_loss
from spine_models.models.networks import build
from spine_models.provenance.settings import settings_from
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.optimizer import build_optimizer
from spine_models.training.recipe import Recipe
from spine_models.training.segmentation_recipe import SegmentationRecipe

PRESETS = (("original-4x48g", 44.5), ("laptop-16g", 15.0))
"""Presets and the memory in GiB that a card of their kind leaves to a process."""
LAYOUTS = {"ncdhw": torch.contiguous_format, "ndhwc": torch.channels_last_3d}
_KERNELS, _NAME = 20, 110
Step = Callable[[], torch.Tensor]


def measure(bench: Bench) -> None:
    use_device(bench.kind, int(bench.real), 4)
    presets = Path(__file__).resolve().parents[2] / "presets"
    configs = {preset: read_configuration([presets / f"{preset}.yaml"]) for preset, _ in PRESETS}
    used = {}
    for preset, cap in PRESETS:
        for name in _trainings(configs[preset]):
            used[preset, name] = _capped(bench, configs[preset], name, f"{preset} {name}", cap)
    full = configs[PRESETS[0][0]]
    for name in _trainings(full):
        _profiled(bench, full, name)
    for name in ("segmentation", "classification ir"):
        _one(bench, full, name, "ncdhw", True, repeats=2)
    for name in ("segmentation", "classification ir"):
        _one(bench, full, name, "ndhwc", False, repeats=1)
    # Last, since it computes on the CPU.
    for preset, _ in PRESETS:
        for need in needs(configs[preset]):
            here = used[preset, need.name]
            ok = here <= need.memory_gib
            bench.row(f"{preset} {need.name} and resources", used_gib=here, resources_gib=need.memory_gib, ok=ok)


def _trainings(config: Mapping[str, Any]) -> list[str]:
    return ["segmentation", *(f"classification {variant}" for variant in config["classification"]["variants"])]


def _capped(bench: Bench, config: Mapping[str, Any], name: str, title: str, cap: float) -> float:
    """Run a step as a card of ``cap`` GiB would and return the GiB of the device that it took."""
    with bench.case(f"{title} under {cap} GiB") as facts:
        bench.cap(cap)
        facts.update(_measured(bench, config, name, "ncdhw", repeats=3))
        used = facts.get("reserved_gib", 0.0) + facts.get("outside_gib", 0.0)
        facts.update(used_gib=used, ok=used <= cap)
    bench.cap(None)
    return float(facts.get("used_gib", float("inf")))


def _one(bench: Bench, config: Mapping[str, Any], name: str, layout: str, search: bool, repeats: int) -> None:
    with bench.case(f"{name} {layout}{' cudnn.benchmark' if search else ''}") as facts:
        torch.backends.cudnn.benchmark = search
        try:
            facts.update(_measured(bench, config, name, layout, repeats))
        finally:
            torch.backends.cudnn.benchmark = False


def _profiled(bench: Bench, config: Mapping[str, Any], name: str) -> None:
    """Write the kernels that take most of a step."""
    with bench.case(f"{name} profile") as facts:
        step, _ = training_step(bench, config, name, "ncdhw")
        step()
        activities = [ProfilerActivity.CUDA] if bench.real else [ProfilerActivity.CPU]
        with profile(activities=activities) as found:
            step()
            if bench.real:
                torch.cuda.synchronize()
        spent = {event.key: event.self_device_time_total / 1000.0 for event in found.key_averages()}
        facts["total_ms"] = float(sum(spent.values()))
        largest = sorted(spent.items(), key=lambda item: -item[1])[:_KERNELS]
        facts["ms"] = {kernel[:_NAME]: round(milliseconds, 2) for kernel, milliseconds in largest}


def _measured(bench: Bench, config: Mapping[str, Any], name: str, layout: str, repeats: int) -> dict[str, Any]:
    step, recipe = training_step(bench, config, name, layout)
    first = bench.seconds_of(step)
    bench.clean()
    seconds = statistics.median(bench.seconds_of(step) for _ in range(repeats))
    micro = recipe.micro_batch if bench.real else 1
    facts = {"first_s": first, "seconds": seconds, "samples_per_s": micro / seconds, "micro_batch": micro}
    return {**facts, **bench.peak()}


def training_step(
    bench: Bench, config: Mapping[str, Any], name: str, layout: str, change: Callable[[nn.Module], None] | None = None
) -> tuple[Step, Recipe]:
    """Return a step over one micro-batch, optimizer included, as the training of ``name`` makes it.

    ``change`` may alter the network before.
    """
    torch.manual_seed(0)
    crops = config["crops"]
    if name == "segmentation":
        recipe: Any = settings_from(SegmentationRecipe, segmentation_recipe(config))
        shape = (recipe.micro_batch, 1, recipe.window, config["half_size"], config["half_size"])
    else:
        recipe = settings_from(ClassificationRecipe, classifier_recipe(config, name.split()[1]))
        shape = (recipe.micro_batch, 3, crops["depth"], crops["size"], crops["size"])
    network = build(
        recipe.network, freeze_bn=recipe.freeze_bn, activation_checkpointing=recipe.activation_checkpointing
    )
    if change is not None:
        change(network)
    if not bench.real:
        shape = (1, shape[1], 8, 64, 64)
    image = torch.randn(shape, device=bench.device).contiguous(memory_format=LAYOUTS[layout])
    target = torch.randint(0, 8, (shape[0], *shape[2:]), dtype=torch.uint8, device=bench.device)
    truth = torch.rand(shape[0], 8, device=bench.device)
    network = network.to(bench.device).to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
    optimizer = build_optimizer(network, recipe.learning_rate, recipe.weight_decay)

    def step() -> torch.Tensor:
        with torch.autocast(bench.kind, torch.bfloat16):
            output = network(image)
            if name == "segmentation":
                loss = segmentation_loss(output, target, recipe.loss).total
            else:
                loss = functional.binary_cross_entropy_with_logits(output, truth)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step, recipe
