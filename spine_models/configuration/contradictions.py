"""Keys of the configuration that cannot both hold, found before any job starts.

The schema judges each key by itself; what is here judges keys by each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from spine_models.configuration.paths import path_contradictions
from spine_models.configuration.trainings import folds_of
from spine_models.data.labels.numbering import NUMBERINGS
from spine_models.errors import UserError
from spine_models.inference.settings_contradictions import limit_contradictions, window_contradictions
from spine_models.models.networks import KIND, KINDS
from spine_models.models.published import NONE, PUBLISHED
from spine_models.schema_check import shown


def contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for every pair of keys that cannot both hold."""
    yield from path_contradictions(config)
    yield from limit_contradictions(config["hu_limits"])
    for name in ("segmentation", "classification"):
        yield from _training_contradictions(name, config[name]["gpus"], config[name]["training"])
    yield from window_contradictions(
        "segmentation.training.validation", config["segmentation"]["training"]["validation"]
    )
    yield from window_contradictions("segmentation.inference", config["segmentation"]["inference"])
    yield from _fold_contradictions(config)
    yield from _label_contradictions(config["label_numbers"])
    yield from _weight_contradictions(config)
    yield from _batch_norm_contradictions(config)
    if config["phantom"]["enabled"]:
        yield from _phantom_contradictions(config)


def require_arrays_fit(array_rules: str | None, jobs: int | None, shards: int) -> None:
    """Check that an array of Slurm, which holds all shards of a rule, may run at once; otherwise it waits for ever.

    Args:
        array_rules: ``slurm-array-jobs`` of the profile.
        jobs: most jobs at once; None without limit.
        shards: of the data rules.

    Raises:
        UserError: if there are more shards than jobs.
    """
    if array_rules and jobs is not None and shards > jobs:
        raise UserError(
            f"shards is {shards} and jobs is {jobs}, but an array waits until all its shards may run: set jobs above "
            "shards, or take slurm-array-jobs out of the profile"
        )


def _training_contradictions(name: str, gpus: int, part: Mapping[str, Any]) -> Iterator[str]:
    at_once = part["micro_batch"] * max(gpus, 1)
    if part["global_batch"] % at_once:
        yield (
            f"{name}.training.global_batch is {part['global_batch']}, but must be a multiple of micro_batch x gpus = "
            f"{part['micro_batch']} x {max(gpus, 1)} = {at_once}"
        )
    if part["final_learning_rate"] > part["learning_rate"]:
        yield (
            f"{name}.training.final_learning_rate is {part['final_learning_rate']}, but must be at most "
            f"{name}.training.learning_rate, which is {part['learning_rate']}"
        )


def _label_contradictions(numbers: str | Mapping[str, int]) -> Iterator[str]:
    if isinstance(numbers, str):
        if numbers not in NUMBERINGS:
            presets = ", ".join(NUMBERINGS)
            yield f"label_numbers is '{numbers}', but must be one of {presets}, or a number for each level"
    elif len(set(numbers.values())) < len(numbers):
        yield "label_numbers has two levels with the same number, but each level must have its own"


def _fold_contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    classification = config["classification"]
    parts = classification["fold_parts"]
    if classification["folds"] > parts:
        yield (
            f"classification.folds is {classification['folds']}, but must be at most classification.fold_parts, "
            f"which is {parts}"
        )
    for name, variant in classification["variants"].items():
        path = f"classification.variants.{name}"
        if (variant["folds"] or 0) > parts:
            yield (
                f"{path}.folds is {variant['folds']}, but must be at most classification.fold_parts, which is {parts}"
            )
        for limit, most in (
            ("keep_best", config["keep_best"]),
            ("classification.training.epochs", classification["training"]["epochs"]),
        ):
            if variant["average"] > most:
                yield f"{path}.average is {variant['average']}, but must be at most {limit}, which is {most}"
    if not any(folds_of(config, name) for name in classification["variants"]):
        yield "classification.variants.*.folds is 0 for every variant, but at least one variant must be trained"


def _weight_contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Find networks that do not fit the published weights that they start from."""
    if config["init_bundle"]:
        return
    variants = config["classification"]["variants"]
    parts = {"segmentation": config["segmentation"]}
    parts |= {f"classification.variants.{name}": variant for name, variant in variants.items()}
    for path, part in parts.items():
        if NONE in (config["pretrained"], part["weights"]):
            continue
        network = part["network"]
        fits = PUBLISHED[part["weights"]].fits.get(network[KIND])
        if fits is None:
            yield (
                f"{path}.weights is {part['weights']}, but those fit no network of the kind {network[KIND]}: set it "
                f"to {NONE}"
            )
            continue
        for key, value in fits.items():
            if network[key] != value:
                yield (
                    f"{path}.network.{key} is {network[key]}, but the published weights need {value}: set it, or set "
                    f"{path}.weights or pretrained to {NONE}"
                )


def _batch_norm_contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """Find trainings whose last layers leave batch norm one value a channel, of which there are no statistics.

    A network divides z and the plane by its strides, rounding up.
    """
    segmentation, classification, crops = config["segmentation"], config["classification"], config["crops"]
    learning = []
    if not (segmentation["training"]["freeze_bn"] or config["segmentation_bundle"]):
        window = segmentation["training"]["window"]
        learning.append(("segmentation", segmentation["network"], window, config["half_size"]))
    for name, variant in classification["variants"].items():
        if folds_of(config, name) and not variant["freeze_bn"]:
            learning.append(("classification", variant["network"], crops["depth"], crops["size"]))
    for stage, network, slices, side in learning:
        part = config[stage]
        samples = part["training"]["micro_batch"] * max(part["gpus"], 1)
        along_z, in_plane = KINDS[network[KIND]].strides
        if samples * math.ceil(slices / along_z) * math.ceil(side / in_plane) == 1:
            yield (
                f"{stage}.training.micro_batch is 1, but must be at least 2 with samples of {slices} x {side} x {side}:"
                " of one such sample, batch norm has no statistics"
            )


def _phantom_contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    phantom = config["phantom"]
    if config["dataset_dir"]:
        yield (
            f"dataset_dir is {shown(config['dataset_dir'])}, but must be empty while phantom.enabled is true: "
            "the data set is generated in output_dir/phantom"
        )
    if phantom["segmented"] > phantom["studies"]:
        yield (
            f"phantom.segmented is {phantom['segmented']}, but must be at most phantom.studies, which is "
            f"{phantom['studies']}"
        )
    if not config["segmentation_bundle"] and phantom["segmented"] < config["segmentation"]["folds"]:
        yield (
            f"phantom.segmented is {phantom['segmented']}, but must be at least segmentation.folds, which is "
            f"{config['segmentation']['folds']}"
        )
    shares = sum(grade["share"] for grade in phantom["grades"].values())
    if abs(shares - 1.0) > 1e-6:
        yield f"phantom.grades.*.share add up to {shares:g}, but must add up to 1"
