"""What the trainings of a configuration need.

Memory of a training step follows from the tensors that wait for the backward pass. They are counted at a small size,
without computing anything, and scaled by the number of voxels: all of them grow with it. Steps and disk follow from the
configuration and the number of studies: those of the challenge's data set unless said otherwise, or the phantoms of the
configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from spine_models.configuration.checked import checked
from spine_models.configuration.overlays import merge, read_overlay
from spine_models.configuration.trainings import classifier_recipe, folds_of, segmentation_recipe
from spine_models.configuration.workflow_files import workflow_root
from spine_models.levels import TARGETS
from spine_models.models.convolutions import use_plain
from spine_models.models.losses import LossSettings, segmentation_loss
from spine_models.models.network import Network
from spine_models.models.networks import build
from spine_models.provenance.settings import settings_from
from spine_models.training.batching import BatchPlan, plan_batches
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.memory import Step, measure_step
from spine_models.training.recipe import Recipe
from spine_models.training.segmentation_recipe import SegmentationRecipe
from spine_models.training.state import KEPT_STATES

GIB = 2**30
CONTEXT_BYTES = int(1.5 * GIB)
"""CUDA's context, cuDNN's workspaces and the allocator's fragments: an allowance, not measured."""
_LOSS_COPIES = 7
"""Arrays as large as the logits in float32 that the loss of the segmentation and the copies of slices around it hold
at the peak, apart from what the backward pass needs. Measured on an H200 (docs/performance.md): about 25.7 GiB are used
with four windows; without these the estimate is 22.8 GiB, with them 26.3 GiB."""
STUDIES = 2019
SEGMENTED = 87
"""Of the challenge's data set (method, data)."""
_SMALL = (16, 64, 64)
_AUTOCAST = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16, "auto": torch.bfloat16}


@dataclass(frozen=True)
class Need:
    """What one training needs.

    Attributes:
        name: stage and variant.
        trainings: how many of them the configuration has.
        batch: how a step is made up.
        memory_gib: of one GPU, or of the machine where the training has none, at the peak of a step.
        steps: optimizer steps of one training.
        state_gib: disk that the state of one training takes at most while it runs.
        published_gib: disk that its result takes, the copy that a rerun publishes from and the average included.
        older_gib: disk that its earlier states take at most, until ``make prune-state`` removes them.
    """

    name: str
    trainings: int
    batch: BatchPlan
    memory_gib: float
    steps: int
    state_gib: float
    published_gib: float
    older_gib: float


def needs(config: Mapping[str, Any], studies: int | None = None, segmented: int | None = None) -> list[Need]:
    """Return what each training of a checked configuration needs.

    Args:
        config: the whole configuration.
        studies: in the data set; None: the phantoms of the configuration, or the challenge's.
        segmented: those with a segmentation; None likewise.
    """
    phantom = config["phantom"]
    studies = studies or (phantom["studies"] if phantom["enabled"] else STUDIES)
    segmented = segmented or (phantom["segmented"] if phantom["enabled"] else SEGMENTED)
    section, side = config["segmentation"], config["half_size"]
    recipe = settings_from(SegmentationRecipe, segmentation_recipe(config))
    step = _measured(recipe, partial(_segmentation_loss, settings=recipe.loss))
    step.rest += _LOSS_COPIES * 4 * len(TARGETS) * _voxels()
    scale = recipe.window * side * side / _voxels()
    draws = segmented * (section["folds"] - 1) // section["folds"] * recipe.draws_per_study
    found = [_need("segmentation", section, recipe, (step, scale, draws), kept=1)]
    section, crops = config["classification"], config["crops"]
    for variant in section["variants"]:
        own = settings_from(ClassificationRecipe, classifier_recipe(config, variant))
        step = _measured(own, _classification_loss)
        scale = crops["depth"] * crops["size"] ** 2 / _voxels()
        draws = studies * (section["fold_parts"] - 1) // section["fold_parts"] * own.draws_per_study
        job = {"gpus": section["gpus"], "folds": folds_of(config, variant)}
        name = f"classification {variant}"
        found.append(_need(name, job, own, (step, scale, draws), kept=config["keep_best"]))
    return found


def table(found: list[Need]) -> str:
    """Return the needs as a Markdown table."""
    lines = [
        "| training | how many | micro-batch x GPUs x accumulation | memory | steps | state | result |",
        "|---|---|---|---|---|---|---|",
    ]
    for need in found:
        batch = f"{need.batch.micro_batch} x {need.batch.processes} x {need.batch.accumulation}"
        lines.append(
            f"| {need.name} | {need.trainings} | {batch} | {_size(need.memory_gib)} | {need.steps} "
            f"| {_size(need.state_gib)} | {_size(need.published_gib)} |"
        )
    total = sum(need.trainings * (need.state_gib + need.published_gib) for need in found)
    older = sum(need.trainings * need.older_gib for need in found)
    lines += [
        "",
        f"Disk of all trainings, states and results: at most {_size(total)}; earlier states, until `make prune-state` "
        f"removes them: at most {_size(older)} more.",
    ]
    return "\n".join(lines)


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1.0 else f"{1024 * gib:.0f} MiB"


def read_configuration(overlays: list[Path]) -> dict[str, Any]:
    """Read ``config.yaml``, merge overlays into it in depth as Snakemake does, and check the result.

    Raises:
        UserError: if a file is missing or the configuration is wrong.
    """
    config: dict[str, Any] = {}
    root = workflow_root()
    for path in [root / "config.yaml", *overlays]:
        merge(config, read_overlay(path))
    return checked(config, root / "rules" / "config.schema.yaml")


def _need(name: str, section: Mapping[str, Any], recipe: Recipe, measured: tuple[Step, float, int], kept: int) -> Need:
    step, scale, draws = measured
    plan = plan_batches(name.split(maxsplit=1)[0], recipe.global_batch, recipe.micro_batch, max(1, section["gpus"]))
    activations = step.activations(recipe.activation_checkpointing) * scale * recipe.micro_batch
    weights = 4 * step.parameters
    # While a checkpoint (weights and two moments) is replaced there are two; while the list of the best changes it
    # and the one in the last checkpoint may have no epoch in common.
    state = 2 * 3 * weights + 2 * kept * weights
    # The epochs in the finished state and in the output, and the average of a classifier.
    published = (2 * kept + (kept > 1)) * weights
    context = CONTEXT_BYTES if section["gpus"] else 0
    return Need(
        name,
        section["folds"],
        plan,
        (activations + step.fixed() + context) / GIB,
        draws // recipe.global_batch * recipe.epochs,
        state / GIB,
        published / GIB,
        (KEPT_STATES - 1) * (state + kept * weights) / GIB,
    )


def _measured(recipe: Recipe, loss: Callable[[Network], torch.Tensor]) -> Step:
    """Count a step of the recipe's network as on a GPU: plain convolutions, channels last."""
    with FakeTensorMode():
        network = build(recipe.network, freeze_bn=recipe.freeze_bn)
        use_plain(network)
        return measure_step(network, network.units(), partial(loss, network), _AUTOCAST[recipe.precision])


def _image(channels: int) -> torch.Tensor:
    return torch.zeros(1, channels, *_SMALL).contiguous(memory_format=torch.channels_last_3d)


def _segmentation_loss(network: Network, settings: LossSettings) -> torch.Tensor:
    return segmentation_loss(network(_image(1)), torch.ones(1, *_SMALL, dtype=torch.uint8), settings).total


def _classification_loss(network: Network) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(network(_image(3)), torch.zeros(1, len(TARGETS)))


def _voxels() -> int:
    return _SMALL[0] * _SMALL[1] * _SMALL[2]
