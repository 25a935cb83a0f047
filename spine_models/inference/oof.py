"""Out-of-fold predictions: each study by the one model of a variant that did not see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spine_models.compute.crop_predictor import CropInferenceSettings, CropPredictor
from spine_models.compute.devices import use_device
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.out_of_memory import OTHER_DEVICE, memory_advice
from spine_models.compute.precision import classifier_precision
from spine_models.data.crops.crop import ClassifierCrop, CropSettings, SpineCrop, validation_starts, validation_windows
from spine_models.data.crops.files import open_crop
from spine_models.data.dataset.study_tokens import learnt_from, study_token
from spine_models.errors import UserError
from spine_models.evaluation.aggregate import study_probabilities
from spine_models.evaluation.competition import Floats, prior_probabilities
from spine_models.evaluation.ensemble import OofTableFacts
from spine_models.evaluation.tables import FROM_CROPS, FROM_PRIOR, OOF_COLUMNS, STUDY, read_csv
from spine_models.evaluation.truth import read_truth
from spine_models.inference.where_to_look import suspicious_slices
from spine_models.levels import LEVELS, TARGETS
from spine_models.models.weights import load_model
from spine_models.pace import paced
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.facts import Facts
from spine_models.provenance.files import clear_left_overs, write_text
from spine_models.provenance.keys import Key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.records import Record, Work, write_record
from spine_models.provenance.shelf import Shelf
from spine_models.provenance.vouched import digests, vouch, vouched

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OofSettings:
    """Settings of out-of-fold prediction.

    Attributes:
        crops: section ``crops`` of the configuration.
        inference: section ``classification.inference``.
        math_threads: threads inside torch.
        device: "auto", "cuda" or "cpu"; no part of the key of a result.
    """

    crops: CropSettings
    inference: CropInferenceSettings
    math_threads: int
    device: str = "auto"


@dataclass(frozen=True)
class OofFacts(Facts):
    """What is predicted for a study by the model that did not see it.

    Attributes:
        probabilities: one for each of ``levels.TARGETS``; None where the study has no crop.
        levels: visible levels among those that the model looked at.
        overflowed: whether half precision overflowed, so that they were computed again in float32.
        precision: of the first attempt; empty without a crop.
        looks: fractured level that the mask shows: the most suspicious slice, and the middle of its box, both on the
            volume's slices.
    """

    probabilities: tuple[float, ...] | None
    levels: tuple[str, ...]
    overflowed: bool = False
    precision: str = ""
    looks: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class OofInputs:
    """The files that out-of-fold prediction reads.

    Attributes:
        model: the fold's averaged classifier.
        folds: ``folds/classification.csv``.
        train_csv: true targets, for the prior of the training studies.
        crops: manifests of the crops of all shards.
    """

    model: Path
    folds: Path
    train_csv: Path
    crops: Sequence[Path]


def predict_oof(
    inputs: OofInputs, variant: str, fold: int, settings: OofSettings, *, gpus: int, code: str, out: Path
) -> None:
    """Predict the studies of ``fold`` and write ``oof.csv`` with the columns ``evaluation.tables.OOF_COLUMNS``.

    A study without a usable vertebra gets the best constant of the studies outside its fold, and ``prior`` as its
    source. Finished studies are in ``oof/`` beside the table, so that a job that was stopped goes on with the rest.

    Args:
        inputs: the files.
        variant: of the model.
        fold: whose studies are predicted; the model must not have seen them.
        settings: the configuration.
        gpus: GPUs of this job.
        code: fingerprint of the code.
        out: the table to write.

    Raises:
        UserError: if a file is missing or damaged, or the model is not one of this variant, or learnt from a study of
            the fold.
    """
    folds = read_csv(vouched(inputs.folds), (STUDY, "fold"), "the rule make_folds")
    truth = read_truth(inputs.train_csv)
    held_out = sorted(folds.loc[folds["fold"] == fold, STUDY])
    seen = truth[truth.index.isin(folds.loc[folds["fold"] != fold, STUDY])]
    prior = [float(value) for value in prior_probabilities(seen[list(TARGETS)].to_numpy(dtype=float))]
    fractured = {study: [level for level in LEVELS if truth.loc[study, level] == 1] for study in held_out}
    crops = Shelf(inputs.crops)
    fixed = {"model": digest_file(vouched(inputs.model))}
    config = {name: value for name, value in asdict(settings).items() if name != "device"}
    # Loaded when the first study needs it: a job that finds every study done takes no GPU.
    load = cache(partial(_load_classifier, inputs.model, variant, settings, gpus))

    def make(study: str, path: Path, key: Key) -> Record:
        facts = _facts(crops, study, fractured[study], inputs.model, load, settings.crops)
        return write_record(path, key, {}, facts.to_json())

    rows: list[dict[str, Any]] = []
    found: dict[str, OofFacts] = {}
    work = Work("predict_oof")
    with folder_lock(out.with_suffix("")):
        clear_left_overs(out.with_suffix(""))
        for study in paced(held_out, "predict_oof"):
            key = Key("predict_oof", fixed | {"crops": crops.digest(study)}, config | {"looks": fractured[study]}, code)
            path = out.with_suffix("") / f"{study}.json"
            record = work.result(path, key, partial(make, study, path, key))
            facts = OofFacts.from_json(record.facts)
            found[study] = facts
            rows.append(_row(study, variant, fold, facts, prior))
    write_table(out, rows)
    read = digests(model=inputs.model, folds=inputs.folds, train=inputs.train_csv, crops=inputs.crops)
    table_facts = OofTableFacts(
        settings.inference.flips,
        tuple(sorted({facts.precision for facts in found.values()} - {""})),
        {study: facts.looks for study, facts in found.items() if facts.looks},
    )
    vouch(out, Key("predict_oof", read, config, code), facts=table_facts.to_json())
    work.say()


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write predictions with ``OOF_COLUMNS``; probabilities with six decimals, so that equal ones are equal bytes."""
    import pandas as pd

    table: pd.DataFrame = pd.DataFrame(rows, columns=list(OOF_COLUMNS))
    write_text(path, table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


@dataclass(frozen=True)
class _Classifier:
    """The fold's classifier, and the tokens of the studies that it learnt from by its own account."""

    predictor: CropPredictor
    trained_on: frozenset[str]


def _load_classifier(model: Path, variant: str, settings: OofSettings, gpus: int) -> _Classifier:
    compute = use_device(settings.device, gpus, settings.math_threads)
    network, provenance = load_model(model, "classification")
    if provenance.get("variant") != variant:
        raise UserError(f"{model} holds no classifier of the variant {variant}: train it anew")
    ready = InferenceNetwork(network, compute.device, classifier_precision(compute.kind))
    return _Classifier(CropPredictor(ready, settings.inference.flips), learnt_from(provenance))


def _facts(
    crops: Shelf,
    study: str,
    fractured: Sequence[str],
    model: Path,
    load: Callable[[], _Classifier],
    settings: CropSettings,
) -> OofFacts:
    crop = open_crop(crops, study)
    if crop is None:
        return OofFacts(None, ())
    windows = list(validation_windows(crop, settings))
    with memory_advice(OTHER_DEVICE):
        classifier = load()
        if study_token(study) in classifier.trained_on:
            raise UserError(f"{model} learnt from study {study}, which its fold holds out: train it anew")
        before = classifier.predictor.repeated
        found = classifier.predictor.probabilities(window for _, window in windows)
        again = classifier.predictor.repeated > before
        looks = _looks(crop, fractured, windows, found, classifier.predictor, settings)
    probabilities = study_probabilities(list(found))
    seen = dict.fromkeys(level for level, _ in windows)
    visible = tuple(level for level in seen if crop.levels[level] == "visible")
    return OofFacts(
        tuple(float(value) for value in probabilities), visible, again, classifier.predictor.precision, looks
    )


def _looks(
    crop: SpineCrop,
    fractured: Sequence[str],
    windows: Sequence[tuple[str, ClassifierCrop]],
    found: Floats,
    predictor: CropPredictor,
    settings: CropSettings,
) -> dict[str, tuple[float, float]]:
    """Return the most suspicious slice of each fractured level, and the middle of its box."""
    boxes = {level: crop.boxes[level] for level in fractured if level in crop.boxes}
    starts = [start for _, start in validation_starts(crop, settings)]
    slices = suspicious_slices(
        [window for _, window in windows], starts, settings.depth, boxes, {"": found}, {"": predictor}
    )
    return {level: (float(place), (boxes[level][0] + boxes[level][1] - 1) / 2) for level, place in slices.items()}


def _row(study: str, variant: str, fold: int, facts: OofFacts, prior: list[float]) -> dict[str, Any]:
    values = np.asarray(prior if facts.probabilities is None else facts.probabilities)
    return {
        STUDY: study,
        "variant": variant,
        "fold": fold,
        **dict(zip(TARGETS, values, strict=True)),
        "levels_visible": len(facts.levels),
        "source": FROM_PRIOR if facts.probabilities is None else FROM_CROPS,
    }
