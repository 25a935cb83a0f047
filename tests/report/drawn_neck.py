"""A neck drawn from blocks, and the page of its study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tiny_data import volume_facts
from spine_models.inference.predictions import PREDICTED, PredictedStudy
from spine_models.inference.view_data import places, view_data
from spine_models.levels import LEVELS, TARGETS
from spine_models.report.study_page import PageBundle, study_page

FACTOR, STEP = 0.5, 2
SHAPE = (56, 96, 96)
"""(z, y, x) of the full grid: every second of 112 slices of 1.5 mm, from the top down; pixels of 1 mm."""
BUNDLE = PageBundle("b" * 64, phantom=True)
PROBABILITIES = {"patient_overall": 0.8, **{level: 0.1 * (1 + number) for number, level in enumerate(LEVELS)}}


def affine(pixel: float) -> tuple[tuple[float, ...], ...]:
    """Return (z, y, x, 1) to LPS of a grid from the top of the head down."""
    return (0.0, 0.0, pixel, -48.0), (0.0, pixel, 0.0, -40.0), (-1.5 * STEP, 0.0, 0.0, 300.0), (0.0, 0.0, 0.0, 1.0)


def facts():
    inner = (SHAPE[0], 48, 48)
    return volume_facts(
        shape=SHAPE,
        half_shape=inner,
        half_inner_shape=inner,
        spacing_mm=(1.5 * STEP, 1.0, 1.0),
        affine_lps=affine(1.0),
        half_affine_lps=affine(2.0),
        slices=112,
        z_step=STEP,
    )


def neck() -> tuple[np.ndarray, np.ndarray]:
    """Return the full volume and the mask on the half grid: seven blocks of six slices, one behind the other."""
    full = np.full(SHAPE, -1000, np.int16)
    full[:, 16:80, 16:80] = 40
    mask = np.zeros((SHAPE[0], 48, 48), np.uint8)
    for number in range(len(LEVELS)):
        z = 6 + 6 * number
        mask[z : z + 5, 20:28, 18 + number : 26 + number] = number + 1
        full[z : z + 5, 40:56, 36 + 2 * number : 52 + 2 * number] = 700
    return full, mask


def drawn_page(folder: Path, status: str = PREDICTED, **more: Any) -> tuple[Path, PredictedStudy]:
    """Write the page of the drawn study below ``folder``, and return its path and the study."""
    full, mask = neck()
    half = np.ascontiguousarray(full[:, ::2, ::2])
    boxes = {level: (6 + 6 * n, 11 + 6 * n, 20, 28, 18 + n, 26 + n) for n, level in enumerate(LEVELS)}
    where = places(mask, facts(), {"C4": 26})
    images = view_data(half, mask, full, facts(), boxes, where.slices)
    known = {"probabilities": PROBABILITIES, "levels": dict.fromkeys(LEVELS, "visible"), **more}
    study = PredictedStudy("1.2.840.7", status=status, **known)
    path = folder / "study.html"
    path.write_text(study_page(study, "predicted", where, images, BUNDLE), encoding="utf-8")
    (folder / "images.json").write_text(json.dumps(images))
    assert set(PROBABILITIES) == set(TARGETS)
    return path, study
