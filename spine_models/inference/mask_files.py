"""The stored masks of a shard: each study by networks that did not learn from its labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

from spine_models.compute.devices import Compute, use_device
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.compute.out_of_memory import memory_advice
from spine_models.data.crops.plausibility import PlausibilitySettings
from spine_models.data.volume_facts import VolumeFacts
from spine_models.inference.mask_networks import MaskNetwork, networks_and_folds, networks_for
from spine_models.inference.masks import checked_mask
from spine_models.models.weights import load_model
from spine_models.pace import paced
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record, write_array, write_record
from spine_models.provenance.shard import open_shard
from spine_models.provenance.shelf import Shelf


@dataclass(frozen=True)
class InferMasksSettings:
    """Configuration of the rule ``infer_masks``.

    Attributes:
        math_threads: threads inside torch.
        plausibility: section ``plausibility``.
        inference: section ``segmentation.inference``.
        device: "auto", "cuda" or "cpu"; no part of the key of a result.
    """

    math_threads: int
    plausibility: PlausibilitySettings
    inference: SlidingWindowSettings
    device: str = "auto"


@dataclass(frozen=True)
class MaskInputs:
    """What masks are predicted from.

    Attributes:
        half: manifest of the half-size volumes.
        folds: ``folds/segmentation.csv``.
        models: weights of the folds, or the ``bundle.json`` of a bundle.
    """

    half: Path
    folds: Path
    models: Sequence[Path]


def infer_masks(inputs: MaskInputs, settings: InferMasksSettings, *, gpus: int, code: str, out: Path) -> None:
    """Predict the mask of every study of a shard; memory holds one study at a time.

    Args:
        inputs: the files.
        settings: the configuration.
        gpus: GPUs of this job.
        code: fingerprint of the code.
        out: manifest to write; masks and records are beside it.

    Raises:
        UserError: if a file is missing, a network is damaged, or learnt from a study that its fold holds out.
    """
    networks, folds = networks_and_folds(inputs.models, inputs.folds)
    volumes = Shelf([inputs.half])
    # Loaded when the first study needs it: a job that finds every mask done takes no GPU.
    load = cache(partial(_load_network, cache(partial(use_device, settings.device, gpus, settings.math_threads))))
    config = {name: value for name, value in asdict(settings).items() if name != "device"}
    with open_shard("infer_masks", out) as shard:
        for study in paced(volumes.studies, "infer_masks"):
            with shard.study(study):
                chosen = networks_for(study, volumes.facts(study, VolumeFacts).group, networks, folds)
                read = {"half": volumes.digest(study)} | {f"network {item.name}": item.sha256 for item in chosen}
                key = Key("infer_masks", read, config, code)
                shard.result(study, key, partial(_write_mask, volumes, study, chosen, load, settings, key))


def _write_mask(
    volumes: Shelf,
    study: str,
    chosen: Sequence[MaskNetwork],
    load: Callable[[MaskNetwork], InferenceNetwork],
    settings: InferMasksSettings,
    key: Key,
    path: Path,
) -> Record:
    with memory_advice("lower segmentation.inference.window, which makes all masks anew, or set device: cpu"):
        predictor = MaskPredictor([load(network) for network in chosen], settings.inference)
        facts = volumes.facts(study, VolumeFacts)
        mask, shown = checked_mask(volumes.array(study), facts, predictor, settings.plausibility)
    files = {f"{study}.npy": write_array(path.with_name(f"{study}.npy"), mask)}
    names = tuple(network.name for network in chosen)
    shown = replace(shown, models=names, overflowed=predictor.repeated > 0)
    return write_record(path, key, files, shown.to_json())


def _load_network(use: Callable[[], Compute], network: MaskNetwork) -> InferenceNetwork:
    model, _ = load_model(network.path, "segmentation")
    return InferenceNetwork(model, use().device)
