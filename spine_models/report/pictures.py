"""Pictures of held-out studies with their masks, and what the masks were flagged for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.mask_facts import MaskFacts
from spine_models.data.volume_facts import VolumeFacts
from spine_models.evaluation.competition import study_losses
from spine_models.inference.overlays import axial_picture, picture_source, png_bytes, sagittal_picture
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.shelf import Shelf
from spine_models.report.rendering import png_uri

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Example:
    """One study on the page.

    Attributes:
        study: its id.
        why: for what it was chosen.
        sagittal: data URI.
        axial: data URI.
        fractured: levels that are fractured.
        shown: level of the axial slice; "" where the mask has none.
        probabilities: target to out-of-fold probability.
        loss: of the study.
    """

    study: str
    why: str
    sagittal: str
    axial: str
    fractured: list[str]
    shown: str
    probabilities: dict[str, float]
    loss: float


def example_studies(ensemble: pd.DataFrame, truth: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Choose the best and the worst predicted study with and without a fracture: (study, why, loss).

    Args:
        ensemble: index study, columns ``TARGETS``: out-of-fold probabilities.
        truth: index study, columns ``TARGETS`` of 0 and 1.
    """
    known = truth.loc[ensemble.index, list(TARGETS)]
    losses = study_losses(ensemble[list(TARGETS)].to_numpy(dtype=float), known.to_numpy(dtype=float))
    ranked = sorted(zip(losses, ensemble.index, known["patient_overall"], strict=True))
    chosen: list[tuple[str, str, float]] = []
    for present, name in ((1, "with a fracture"), (0, "without a fracture")):
        group = [(study, float(loss)) for loss, study, overall in ranked if overall == present]
        if group:
            chosen.append((group[0][0], f"best predicted {name}", group[0][1]))
        if len(group) > 1:
            chosen.append((group[-1][0], f"worst predicted {name}", group[-1][1]))
    return chosen


def draw_examples(ensemble: pd.DataFrame, truth: pd.DataFrame, half: Shelf, masks: Shelf) -> list[Example]:
    """Draw the chosen studies that have a volume and a mask.

    Args:
        ensemble: see ``example_studies``.
        truth: see ``example_studies``.
        half: stage ``volumes_half``.
        masks: stage ``masks``.
    """
    there = set(half.studies) & set(masks.studies)
    chosen = example_studies(ensemble[ensemble.index.isin(there)], truth)
    examples = []
    for study, why, loss in chosen:
        values = ensemble.loc[study, list(TARGETS)].to_numpy(dtype=float)
        probabilities = {target: float(value) for target, value in zip(TARGETS, values, strict=True)}
        fractured = [level for level in LEVELS if truth.loc[study, level] == 1]
        shown = level_to_show(probabilities, fractured, masks.array(study))
        sagittal, axial = _drawn(study, shown, half, masks)
        examples.append(Example(study, why, sagittal, axial, fractured, shown, probabilities, loss))
    return examples


def level_to_show(probabilities: Mapping[str, float], fractured: Collection[str], mask: NDArray[np.uint8]) -> str:
    """Return the fractured level that was missed most, without a fracture the most suspicious one; "" for no level.

    Args:
        probabilities: of each level.
        fractured: levels.
        mask: (z, y, x) uint8 0..7; a level that it does not hold cannot be shown.
    """
    there = set(np.unique(mask).tolist())
    seen = [level for value, level in enumerate(LEVELS, start=1) if value in there]
    missed = [level for level in seen if level in fractured]
    if missed:
        return min(missed, key=probabilities.__getitem__)
    return max(seen, key=probabilities.__getitem__, default="")


def mask_flags(masks: Shelf) -> list[dict[str, str]]:
    """Return every flag of every mask: study, level, sentence, in the order of studies."""
    rows = []
    for study in masks.studies:
        for flag in masks.facts(study, MaskFacts).flags:
            rows.append({"study": study, "code": str(flag.code), "level": flag.level, "sentence": flag.sentence})
    return rows


def level_statuses(masks: Shelf) -> dict[str, dict[str, int]]:
    """Count for each level in how many studies it is visible, interpolated or missing."""
    counts: dict[str, dict[str, int]] = {level: {"visible": 0, "interpolated": 0, "missing": 0} for level in LEVELS}
    for study in masks.studies:
        levels = masks.facts(study, MaskFacts).levels
        for level in LEVELS:
            counts[level][levels[level]] += 1
    return counts


def _drawn(study: str, level: str, half: Shelf, masks: Shelf) -> tuple[str, str]:
    """Return the sagittal picture and the axial one through ``level``, as data URIs."""
    facts = half.facts(study, VolumeFacts)
    source = picture_source(half.array(study), masks.array(study), facts.shape, facts.half_factor, facts.spacing_mm)
    return png_uri(png_bytes(sagittal_picture(source))), png_uri(png_bytes(axial_picture(source, level or None)))
