"""Writing a bundle: the networks of a run, and all that a prediction needs beside them."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from spine_models.data.training_facts import TrainingFacts, training_facts
from spine_models.data.volume_facts import VolumeFacts
from spine_models.errors import UserError
from spine_models.evaluation.competition import prior_probabilities
from spine_models.evaluation.operating_points import OperatingPoints
from spine_models.evaluation.scores import rounded
from spine_models.evaluation.truth import read_truth
from spine_models.inference.bundle import Bundle, load_bundle
from spine_models.inference.bundle_description import DESCRIPTION, SCHEMA, is_bundle
from spine_models.inference.model_card import CARD, CardContents, Figures, figures_of, model_card
from spine_models.levels import LEVELS, TARGETS
from spine_models.models.networks import Stage, kinds_of
from spine_models.models.weights import load_state
from spine_models.provenance.acceptance import acceptances_of
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.files import read_json, replacing, write_json, write_text
from spine_models.provenance.packed import AnyFile, write_archive
from spine_models.provenance.shelf import Shelf
from spine_models.provenance.vouched import vouched

_CHUNK_BYTES = 1 << 20
_VERSIONED = ("torch", "numpy", "mmaction2", "mmcv-lite", "mmengine", "safetensors", "pydicom")


@dataclass(frozen=True)
class ExportSettings:
    """What of the configuration goes into a bundle.

    Attributes:
        z_step: every so many slices are used.
        half_size: side of the half grid.
        hu_limits: least and largest Hounsfield units of a volume, or None.
        crops: section ``crops``.
        plausibility: section ``plausibility``.
        inference: section ``segmentation.inference``.
        crop_inference: section ``classification.inference``.
        phantom: True if the data set is a phantom.
    """

    z_step: int
    half_size: int
    hu_limits: tuple[int, int] | None
    crops: dict[str, Any]
    plausibility: dict[str, Any]
    inference: dict[str, Any]
    crop_inference: dict[str, Any]
    phantom: bool


@dataclass(frozen=True)
class BundleContents:
    """What a bundle says besides its networks.

    Attributes:
        settings: see ``Bundle``.
        prior: see ``Bundle``.
        phantom: see ``Bundle``.
        provenance: JSON values: what the bundle was made from; ``write_bundle`` adds the versions of packages.
        classifier_names: of each classifier; None: variant and number, such as "ir-0".
        operating_points: fixed out of fold for all of these classifiers; ``write_bundle`` names them as members.
        training_data: see ``Bundle``.
        figures: how good these networks were out of fold; None where nobody knows.
    """

    settings: Mapping[str, Any]
    prior: Mapping[str, float] | None
    phantom: bool
    provenance: Mapping[str, Any]
    classifier_names: Sequence[str] | None = None
    operating_points: OperatingPoints | None = None
    training_data: TrainingFacts | None = None
    figures: Figures | None = None


@dataclass(frozen=True)
class ExportInputs:
    """The files that a bundle is made from.

    Attributes:
        segmentation: files of segmentation networks, or the ``bundle.json`` of a bundle whose networks were used.
        classification: files of classifiers; none for a bundle that makes only masks.
        train_csv: the training studies' targets, for the prior; None without classifiers.
        half: manifests of the half-size volumes, for what the networks learnt from; none: the bundle does not say.
        labels: manifests of the label maps, which say what a bundle of masks learnt from.
        metrics: ``evaluation/metrics.json``, for the operating points; None: the bundle knows none.
        output_dir: of the run, whose acceptances the provenance names; None where there is no run.
    """

    segmentation: Sequence[Path]
    classification: Sequence[Path] = ()
    train_csv: Path | None = None
    half: Sequence[Path] = ()
    labels: Sequence[Path] = ()
    metrics: Path | None = None
    output_dir: Path | None = None


def export_bundle(inputs: ExportInputs, settings: ExportSettings, *, code: str, out: Path) -> None:
    """Write a bundle; ``bundle.json`` comes last.

    Args:
        inputs: the files.
        settings: the configuration.
        code: fingerprint of the code that exports.
        out: the ``bundle.json`` to write; the networks are copied beside it.

    Raises:
        UserError: if a file is missing, damaged or holds another kind of network.
    """
    if not inputs.segmentation:
        raise UserError("a bundle needs at least one segmentation network: train one first")
    table = None if inputs.train_csv is None else read_truth(inputs.train_csv)
    if bool(inputs.classification) != (table is not None):
        raise UserError("classifiers and train.csv belong together: give both, or neither for a bundle of masks")
    volumes = Shelf(inputs.half)
    learnt_from = Shelf(inputs.labels).studies if table is None else table.index
    studies = [study for study in volumes.studies if study in learnt_from]
    metrics = None if inputs.metrics is None else read_json(vouched(inputs.metrics))
    names = ("z_step", "half_size", "hu_limits", "crops", "plausibility", "inference", "crop_inference")
    contents = BundleContents(
        settings={name: getattr(settings, name) for name in names},
        prior=None if table is None else prior_of(table[list(TARGETS)].to_numpy(dtype=float)),
        phantom=settings.phantom,
        provenance={
            "code": code,
            "accepted": acceptances_of(inputs.output_dir),
            "train_csv": None if inputs.train_csv is None else digest_file(inputs.train_csv),
            "training_studies": len(studies) if table is None else len(table),
        },
        operating_points=_operating_points(metrics),
        figures=None if metrics is None else figures_of(metrics),
        training_data=training_facts(volumes.facts(study, VolumeFacts) for study in studies),
    )
    write_bundle(out, _expanded(inputs.segmentation), [vouched(path) for path in inputs.classification], contents)


def _operating_points(metrics: Mapping[str, Any] | None) -> OperatingPoints | None:
    found = None if metrics is None else metrics["classification"].get("operating_points")
    return None if found is None else OperatingPoints.from_json(found)


def prior_of(truth: ArrayLike) -> dict[str, float]:
    """Return the best constant prediction for studies with the targets ``truth`` (N, 8), as a bundle holds it."""
    return {target: rounded(value) for target, value in zip(TARGETS, prior_probabilities(truth), strict=True)}


def write_bundle(
    out: Path, segmentation: Sequence[AnyFile], classification: Sequence[AnyFile], contents: BundleContents
) -> None:
    """Copy networks and describe them; networks of an earlier bundle in the folder are removed.

    Args:
        out: the ``bundle.json`` to write, last; the networks are copied beside it.
        segmentation: files of segmentation networks.
        classification: files of classifiers; none for a bundle that makes only masks.
        contents: what the bundle says besides its networks.

    Raises:
        UserError: if a file is missing, damaged or holds another kind of network.
    """
    groups = {
        "segmentation": _copy_networks(segmentation, out.parent, "segmentation", None),
        "classification": _copy_networks(classification, out.parent, "classification", contents.classifier_names),
    }
    wanted = {entry["file"] for entries in groups.values() for entry in entries}
    for stale in out.parent.glob("*.safetensors"):
        if stale.name not in wanted:
            stale.unlink()
    points = contents.operating_points
    if points is not None:
        points = replace(points, members=tuple(entry["name"] for entry in groups["classification"]))
    provenance = {**contents.provenance, "versions": {name: importlib.metadata.version(name) for name in _VERSIONED}}
    names = {group: [entry["name"] for entry in entries] for group, entries in groups.items()}
    card = CardContents(
        contents.phantom,
        names["segmentation"],
        names["classification"],
        contents.settings,
        contents.training_data,
        contents.figures,
        points,
        provenance,
    )
    content = {
        "schema": SCHEMA,
        "levels": list(LEVELS),
        "targets": list(TARGETS),
        "settings": dict(contents.settings),
        "prior": dict(contents.prior) if contents.prior else None,
        "phantom": contents.phantom,
        "operating_points": None if points is None else points.to_json(),
        "training_data": None if contents.training_data is None else contents.training_data.to_json(),
        "figures": None if contents.figures is None else contents.figures.to_json(),
        "card": _write_card(out.parent / CARD, model_card(card)),
        **groups,
        "provenance": provenance,
    }
    write_json(out, content | {"digest": digest_json(content)})


def _write_card(path: Path, text: str) -> dict[str, Any]:
    write_text(path, text)
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest_file(path), "name": "model card"}


def pack_bundle(bundle: Bundle, out: Path) -> None:
    """Write a bundle as one file; equal bundles give equal bytes.

    Args:
        bundle: a checked one, in a folder.
        out: the file to write.
    """
    names = [DESCRIPTION, *(entry.file for entry in bundle.files)]
    write_archive(out, {name: bundle.place.path / name for name in names})


def _expanded(paths: Sequence[Path]) -> list[AnyFile]:
    """Replace a bundle by its segmentation networks."""
    found: list[AnyFile] = []
    for path in paths:
        if is_bundle(path):
            bundle = load_bundle(path)
            found += [bundle.place.network(entry) for entry in bundle.segmentation]
        else:
            found.append(vouched(path))
    return found


def _copy_networks(
    sources: Sequence[AnyFile], folder: Path, group: Stage, names: Sequence[str] | None
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for source in sources:
        description = load_state(source)[1]
        kind = description["kind"]
        if kind not in kinds_of(group):
            raise UserError(f"{source} holds a network of the kind {kind}, not {' or '.join(kinds_of(group))}")
        title = str(description["provenance"].get("variant", kind))
        name = names[len(entries)] if names else f"{title}-{seen[title]}"
        seen[title] += 1
        target = folder / f"{group}-{name}.safetensors"
        with replacing(target) as temporary, source.open("rb") as reader, temporary.open("wb") as writer:
            shutil.copyfileobj(reader, writer, _CHUNK_BYTES)
        size, digest = target.stat().st_size, digest_file(target)
        entries.append({"file": target.name, "bytes": size, "sha256": digest, "name": name})
    return entries
