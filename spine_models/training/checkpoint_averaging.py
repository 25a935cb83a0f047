"""The average of a classifier's best epochs, judged on the fold's held-out studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spine_models.data.crops import CropSettings
from spine_models.data.shelf import Shelf
from spine_models.errors import UserError
from spine_models.evaluation.competition import competition_loss
from spine_models.models.averaging import average_states
from spine_models.models.classifier import CsnClassifier
from spine_models.models.weights import load_model, load_state, save_state
from spine_models.provenance.files import write_json
from spine_models.provenance.locks import folder_lock
from spine_models.training.best_epochs import Epoch, read_table
from spine_models.training.classification import FoldData, HeldOutStudies, read_fold
from spine_models.training.classification_module import predict_study
from spine_models.training.devices import Compute
from spine_models.training.fit import chosen_precision

_BATCH = 4
Judge = Callable[[Mapping[str, torch.Tensor]], float]


@dataclass(frozen=True)
class AveragingInputs:
    """The files that averaging reads.

    Attributes:
        epochs: folder with ``epochs.json`` and the weights.
        folds: ``folds/classification.csv``.
        train_csv: labels of the data set.
        crops: manifests of the crops of all shards.
    """

    epochs: Path
    folds: Path
    train_csv: Path
    crops: Sequence[Path]


@dataclass(frozen=True)
class AveragingSettings:
    """How checkpoints are averaged and judged.

    Attributes:
        average: best epochs that the plain average takes.
        greedy_averaging: publish the greedy choice in its place: an epoch joins only when it helps.
        crops: the configuration's ``crops``.
    """

    average: int
    greedy_averaging: bool
    crops: CropSettings


def average_checkpoints(
    inputs: AveragingInputs, fold: int, settings: AveragingSettings, compute: Compute, *, code: str, out: Path
) -> dict[str, Any]:
    """Write ``model.safetensors`` and ``averaging.json`` to ``out``; return the latter.

    Weights are summed in float64, best epoch first. The table compares, on the very studies that chose the epochs,
    the best single epoch with the average: a slightly optimistic figure.

    Args:
        inputs: the files.
        fold: the held-out one.
        settings: how many epochs, greedy or not.
        compute: from ``devices.use_device``.
        code: fingerprint of the code.
        out: folder.

    Raises:
        UserError: if there are fewer epochs than to be averaged, a file is damaged, or another process writes there.
    """
    with folder_lock(out):
        return _average(inputs, fold, settings, compute, code, out)


def _average(
    inputs: AveragingInputs, fold: int, settings: AveragingSettings, compute: Compute, code: str, out: Path
) -> dict[str, Any]:
    epochs = inputs.epochs
    table = read_table(epochs)
    if len(table) < settings.average:
        raise UserError(
            f"{epochs} keeps {len(table)} epochs and {settings.average} are to be averaged: lower `average` of the "
            "variant, or raise keep_best and epochs"
        )
    shelf = Shelf(inputs.crops)
    data = read_fold(inputs.folds, inputs.train_csv, shelf, fold)
    judge = _judge(epochs / table[0].file, data, shelf, settings.crops, compute)
    report, states, names = _compare(epochs, table, settings, judge)
    description = load_state(epochs / table[0].file)[1]
    chosen = report["published"]
    provenance = description["provenance"] | {
        "averaged": [{"epoch": epoch.epoch, "sha256": epoch.sha256} for epoch in names[chosen]],
        "averaging_code": code,
    }
    save_state(out / "model.safetensors", states[chosen], description | {"provenance": provenance})
    write_json(out / "averaging.json", report)
    return report


def greedy_choice(candidates: Sequence[Epoch], loss_of: Callable[[list[Epoch]], float]) -> tuple[list[Epoch], float]:
    """Return the epochs of the greedy average and its loss.

    Starting from the best, each further epoch joins where the average with it has a lower loss than without.
    """
    chosen = [candidates[0]]
    best = loss_of(chosen)
    for candidate in candidates[1:]:
        loss = loss_of([*chosen, candidate])
        if loss < best:
            chosen, best = [*chosen, candidate], loss
    return chosen, best


def _compare(
    folder: Path, table: Sequence[Epoch], settings: AveragingSettings, judge: Judge
) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]], dict[str, list[Epoch]]]:
    def average(epochs: Sequence[Epoch]) -> dict[str, torch.Tensor]:
        return average_states(load_state(folder / epoch.file)[0] for epoch in epochs)

    plain = list(table[: settings.average])
    single_loss = judge(average(table[:1]))
    averaged = average(plain)
    averaged_loss = judge(averaged) if len(plain) > 1 else single_loss
    states, names = {"averaged": averaged}, {"averaged": plain}
    report: dict[str, Any] = {
        "best_single": single_loss,
        "averaged": averaged_loss,
        "epochs": [_entry(epoch) for epoch in plain],
        "greedy": None,
        "published": "averaged",
    }
    if settings.greedy_averaging:
        chosen, loss = greedy_choice(table, lambda epochs: judge(average(epochs)))
        states["greedy"], names["greedy"] = average(chosen), chosen
        report |= {"greedy": {"loss": loss, "epochs": [_entry(epoch) for epoch in chosen]}, "published": "greedy"}
    return report, states, names


def _entry(epoch: Epoch) -> dict[str, Any]:
    return {name: value for name, value in asdict(epoch).items() if name != "facts"}


def _judge(example: Path, data: FoldData, shelf: Shelf, settings: CropSettings, compute: Compute) -> Judge:
    """Return a function that gives the challenge's loss of a state dict on the held-out studies."""
    network, _ = load_model(example)
    if not isinstance(network, CsnClassifier):
        raise UserError(f"{example} holds no classifier: train it anew")
    network.to(compute.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    studies = HeldOutStudies(shelf, settings, data.split.validation, data.labels)
    targets = [list(data.labels[study]) for study in data.split.validation]
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(chosen_precision("auto", compute.kind))

    def loss(state: Mapping[str, torch.Tensor]) -> float:
        network.load_state_dict(state, strict=True)
        with torch.inference_mode(), torch.autocast(compute.kind, half, enabled=half is not None):
            predicted = [
                predict_study(network, studies[i].crops, _BATCH, compute.device, data.prior)
                for i in range(len(studies))
            ]
        return competition_loss(predicted, targets)

    return loss
