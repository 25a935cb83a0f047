"""The page that lists predicted studies, and the tables beside it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.data.dataset.prediction_tables import PredictionIndex
from spine_models.inference.bundle import load_bundle
from spine_models.inference.inventory import INVENTORY, join_inventories
from spine_models.inference.overlays import LEVEL_COLOURS
from spine_models.inference.prediction_files import MASK_FORMATS
from spine_models.inference.predictions import (
    IMPLAUSIBLE,
    MISSING,
    PREDICTED,
    PRIOR,
    REFUSED,
    SEGMENTED,
    MaskMakers,
    PredictedStudy,
    collect,
    mark,
    write_predictions,
    write_submission,
)
from spine_models.levels import LEVELS
from spine_models.provenance.files import read_json, write_text
from spine_models.provenance.shard import FAILED
from spine_models.report.rendering import render_page, script_markup
from spine_models.report.study_page import PageBundle, study_page

STUDY_PAGES = "studies"
"""Folder of the pages of studies, beside the page that lists them."""
_MEANINGS = {
    PREDICTED: "predicted",
    IMPLAUSIBLE: "implausible, no answer",
    PRIOR: "no vertebra found, no prediction",
    SEGMENTED: "mask alone",
    REFUSED: "refused",
    FAILED: "failed",
    MISSING: "not there",
}
_FORMATS = {"nifti": "NIfTI", "seg": "DICOM SEG"}


@dataclass(frozen=True)
class PredictionInputs:
    """The files that are collected.

    Attributes:
        predictions: manifests of the shards.
        bundle: the bundle that predicted, or its ``bundle.json``; its prior answers for what has no prediction.
        test_csv: the challenge's ``test.csv``, or None.
    """

    predictions: Sequence[Path]
    bundle: Path
    test_csv: Path | None = None


@dataclass(frozen=True)
class PredictionOutputs:
    """Where the results of a prediction go.

    Attributes:
        predictions: one row a study, with status and notes.
        submission: in the challenge's format.
        page: the page, in the folder of the other two.
    """

    predictions: Path
    submission: Path
    page: Path

    @property
    def study_pages(self) -> Path:
        """Folder of the pages of studies."""
        return self.page.parent / STUDY_PAGES


def publish_predictions(
    inputs: PredictionInputs, index: PredictionIndex, outputs: PredictionOutputs, operating_point: str
) -> list[PredictedStudy]:
    """Collect the shards of a prediction and write both tables, all pages and ``inventory.csv`` beside them.

    Args:
        inputs: the files.
        index: of the tree of studies.
        outputs: what to write.
        operating_point: name of the point whose marks are shown, see ``inference.predictions.mark``.

    Returns:
        All studies, as they are listed.

    Raises:
        UserError: if a record, the bundle or ``test_csv`` is damaged.
    """
    bundle = load_bundle(inputs.bundle)
    found = collect(inputs.predictions, bundle.prior, inputs.test_csv)
    masks = MaskMakers(tuple(entry.name for entry in bundle.segmentation), bundle.mask_flips)
    studies = mark(found, bundle.operating_points, operating_point, masks)
    write_predictions(outputs.predictions, studies)
    write_submission(outputs.submission, studies, inputs.test_csv)
    join_inventories(outputs.page.parent / INVENTORY, index, inputs.predictions)
    page = predictions_page(
        studies,
        outputs.page.parent,
        phantom=bundle.phantom,
        bundle_digest=bundle.digest,
        classifies=bool(bundle.classification),
    )
    write_text(outputs.page, page)
    _write_study_pages(outputs.study_pages, studies, PageBundle(bundle.digest, bundle.phantom))
    return studies


def _write_study_pages(folder: Path, studies: Sequence[PredictedStudy], bundle: PageBundle) -> None:
    """Write a page for each study that has images, and remove those of studies that are no longer there."""
    wanted = set()
    for study in studies:
        if study.places is None:
            continue
        path = folder / f"{study.study}.html"
        wanted.add(path)
        images = read_json(study.files["view"])
        write_text(path, study_page(study, _MEANINGS[study.status], study.places, images, bundle))
    for stranger in set(folder.glob("*.html")) - wanted:
        stranger.unlink()


def predictions_page(
    studies: Sequence[PredictedStudy], folder: Path, *, phantom: bool, bundle_digest: str, classifies: bool
) -> str:
    """Return the page; pictures are linked relative to ``folder``, where the page will be.

    Args:
        studies: in the order of the tables.
        folder: of the page.
        phantom: whether the networks learnt from phantoms.
        bundle_digest: of the bundle.
        classifies: whether the bundle has classifiers.
    """
    counts = Counter(_MEANINGS[study.status] for study in studies)
    colours = [(level, f"rgb{colour}") for level, colour in zip(LEVELS, LEVEL_COLOURS, strict=True)]
    return render_page(
        "predictions.html.j2",
        studies=sorted((_shown(study, folder, place) for place, study in enumerate(studies)), key=_suspicion),
        script=script_markup("predictions.js"),
        about_points=sorted({study.about_point for study in studies} - {""}),
        marks=any(study.above for study in studies),
        counts=sorted(counts.items()),
        meanings=_MEANINGS,
        classifies=classifies,
        colours=colours,
        phantom=phantom,
        bundle_digest=bundle_digest,
    )


def _suspicion(shown: Mapping[str, Any]) -> tuple[float, int]:
    """Put the most suspicious study first, and studies without an answer last, in the order of the tables."""
    probabilities = shown["probabilities"]
    return (-max(probabilities.values()) if probabilities else 1.0), shown["listed"]


def _shown(study: PredictedStudy, folder: Path, listed: int) -> dict[str, Any]:
    links = {kind: Path(os.path.relpath(path, folder)).as_posix() for kind, path in study.files.items()}
    probabilities = (study.probabilities or {}) if study.status == PREDICTED else {}
    return {
        "study": study.study,
        "status": study.status,
        "code": study.code,
        "listed": listed,
        "probabilities": probabilities,
        "highest": max(LEVELS, key=lambda level: probabilities[level]) if probabilities else "",
        "levels": {level: study.state(level) for level in study.levels},
        "above": study.above,
        "about_point": study.about_point,
        "notes": [*study.reasons, *(study.read_from if study.other_series else ()), *study.notes],
        "pictures": [(kind, links[kind]) for kind in ("sagittal", "axial") if kind in links],
        "masks": [(_FORMATS[kind], links[kind]) for kind in MASK_FORMATS if kind in links],
        "page": "" if study.places is None else f"{STUDY_PAGES}/{study.study}.html",
    }
