"""The average of a classifier's best epochs, judged on the fold's held-out studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import torch

from spine_models.compute.crop_predictor import CropPredictor
from spine_models.compute.devices import Compute
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.out_of_memory import OTHER_DEVICE, memory_advice
from spine_models.data.crops.crop import CropSettings
from spine_models.errors import UserError
from spine_models.evaluation.averages import Averaging, GreedyAverage
from spine_models.evaluation.competition import competition_loss
from spine_models.evaluation.epochs import Epoch
from spine_models.models.averaging import average_states
from spine_models.models.network import Network
from spine_models.models.weights import load_model, load_state, save_state
from spine_models.provenance.canonical import digest_json
from spine_models.provenance.facts import Facts
from spine_models.provenance.files import clear_left_overs, write_json
from spine_models.provenance.keys import Key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.records import Work, write_record
from spine_models.provenance.shelf import Shelf
from spine_models.provenance.vouched import digests, vouch
from spine_models.training.epoch_table import TABLE, read_table
from spine_models.training.held_out_crops import FoldData, HeldOutStudies, probabilities_or_prior, read_fold

_JUDGED = "averaging"
Judge = Callable[[Sequence[Epoch]], float]


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
class Judgement(Facts):
    """The challenge's loss of an average on the held-out studies."""

    loss: float


@dataclass(frozen=True)
class AveragingSettings:
    """How checkpoints are averaged and judged.

    Attributes:
        average: best epochs that the plain average takes.
        greedy: publish the greedy choice in its place: an epoch joins only when it helps.
        crops: the configuration's ``crops``.
    """

    average: int
    greedy: bool
    crops: CropSettings


def average_checkpoints(
    inputs: AveragingInputs, fold: int, settings: AveragingSettings, compute: Compute, *, code: str, out: Path
) -> Averaging:
    """Write ``model.safetensors`` and ``averaging.json`` to ``out``; return the latter.

    Weights are summed in float64, best epoch first. The table compares, on the very studies that chose the epochs,
    the best single epoch with the average: a slightly optimistic figure. Losses are in ``averaging/`` of ``out``, so
    that an average of the same weights is not judged twice.

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
        clear_left_overs(out / _JUDGED)
        return _average(inputs, fold, settings, compute, code, out)


def _average(
    inputs: AveragingInputs, fold: int, settings: AveragingSettings, compute: Compute, code: str, out: Path
) -> Averaging:
    epochs = inputs.epochs
    table = read_table(epochs)
    if len(table) < settings.average:
        raise UserError(
            f"{epochs} keeps {len(table)} epochs and {settings.average} are to be averaged: lower `average` of the "
            "variant, or raise keep_best and epochs"
        )
    data = read_fold(inputs.folds, inputs.train_csv, Shelf(inputs.crops), fold)
    load = cache(lambda: load_model(epochs / table[0].file, "classification")[0])
    judge = _Judge(inputs, data, settings.crops, compute, load, code=code, folder=out / _JUDGED)
    report, states, names = _compare(epochs, table, settings, judge)
    judge.work.say()
    description = load_state(epochs / table[0].file)[1]
    chosen = report.published
    provenance = description["provenance"] | {
        "averaged": [{"epoch": epoch.epoch, "sha256": epoch.sha256} for epoch in names[chosen]],
        "averaging_code": code,
    }
    model, comparison = out / "model.safetensors", out / "averaging.json"
    save_state(model, states[chosen], description | {"provenance": provenance})
    write_json(comparison, report.to_json())
    read = digests(epochs=epochs / TABLE, folds=inputs.folds, train=inputs.train_csv, crops=inputs.crops)
    for path in (model, comparison):
        vouch(path, Key("average_checkpoints", read, asdict(settings), code))
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
) -> tuple[Averaging, dict[str, dict[str, torch.Tensor]], dict[str, list[Epoch]]]:
    plain = list(table[: settings.average])
    single_loss = judge(table[:1])
    averaged_loss = judge(plain) if len(plain) > 1 else single_loss
    states, names = {"averaged": _mean_of(folder, plain)}, {"averaged": plain}
    report = Averaging(single_loss, averaged_loss, tuple(plain), greedy=None, published="averaged")
    if settings.greedy:
        chosen, loss = greedy_choice(table, judge)
        states["greedy"], names["greedy"] = _mean_of(folder, chosen), chosen
        report = replace(report, greedy=GreedyAverage(loss, tuple(chosen)), published="greedy")
    return report, states, names


def _mean_of(folder: Path, epochs: Sequence[Epoch]) -> dict[str, torch.Tensor]:
    return average_states(load_state(folder / epoch.file)[0] for epoch in epochs)


class _Judge:
    """Gives the challenge's loss of the average of some epochs on the held-out studies, and remembers it."""

    def __init__(
        self,
        inputs: AveragingInputs,
        data: FoldData,
        settings: CropSettings,
        compute: Compute,
        load: Callable[[], Network],
        *,
        code: str,
        folder: Path,
    ) -> None:
        self._epochs, self._shelf, self._data = inputs.epochs, Shelf(inputs.crops), data
        self._settings, self._compute, self._code, self._folder = settings, compute, code, folder
        self._load = load
        self.work = Work("average_checkpoints", "judgements")

    def __call__(self, epochs: Sequence[Epoch]) -> float:
        key = self._key(epochs)
        path = self._folder / f"{key.digest[:16]}.json"
        record = self.work.result(path, key, lambda: write_record(path, key, {}, self._judged(epochs).to_json()))
        return Judgement.from_json(record.facts).loss

    def _key(self, epochs: Sequence[Epoch]) -> Key:
        studies = self._data.split.validation
        inputs = {
            "weights": digest_json([epoch.sha256 for epoch in epochs]),
            "crops": digest_json({study: self._shelf.digest(study) for study in studies}),
            "labels": digest_json({study: list(self._data.labels[study]) for study in studies}),
            "prior": digest_json(list(self._data.prior)),
        }
        config = {"crops": asdict(self._settings), "math_threads": self._compute.math_threads}
        return Key("average_checkpoints", inputs, config, self._code)

    def _judged(self, epochs: Sequence[Epoch]) -> Judgement:
        compute, data = self._compute, self._data
        network = self._load()
        network.load_state_dict(_mean_of(self._epochs, epochs), strict=True)
        studies = HeldOutStudies(self._shelf, self._settings, data.split.validation, data.labels)
        with memory_advice(OTHER_DEVICE):
            predictor = CropPredictor(InferenceNetwork(network, compute.device))
            predicted = [probabilities_or_prior(predictor, studies[i], data.prior) for i in range(len(studies))]
        truth = [list(data.labels[study]) for study in data.split.validation]
        return Judgement(competition_loss(predicted, truth))
