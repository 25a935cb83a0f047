"""The page of one predicted study: one file that opens from disk, with its images inside and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spine_models.inference.overlays import LEVEL_COLOURS
from spine_models.inference.predictions import IMPLAUSIBLE, PREDICTED, PredictedStudy
from spine_models.inference.view_data import Places
from spine_models.levels import LEVELS, TARGETS
from spine_models.report.rendering import render_page, script_markup

NIIVUE = "0.69.0"
VIEWS = (
    ("multiplanar", "All"),
    ("axial", "Axial"),
    ("sagittal", "Sagittal"),
    ("coronal", "Coronal"),
    ("render", "3D"),
)
WINDOWS = (("bone", "Bone"), ("soft", "Soft tissue"), ("wide", "All HU"))


@dataclass(frozen=True)
class PageBundle:
    """What a page says of the bundle that predicted.

    Attributes:
        digest: of the bundle.
        phantom: whether its networks learnt from phantoms.
    """

    digest: str
    phantom: bool


def study_page(
    study: PredictedStudy, meaning: str, places: Places | None, images: Mapping[str, Any], bundle: PageBundle
) -> str:
    """Return the page of a study.

    Args:
        study: what was predicted.
        meaning: its status in words.
        places: where its levels are; None where nothing was read.
        images: see ``inference.view_data.view_data``; empty where there are none.
        bundle: that predicted.
    """
    answered = study.status == PREDICTED
    rows = [_row(study, level, places) for level in LEVELS]
    shown = {"neck": "", "mask": "", "slices": {}, **images}
    return render_page(
        "study.html.j2",
        study=study,
        meaning=meaning,
        answered=answered,
        greyed=study.status == IMPLAUSIBLE and study.probabilities is not None,
        reasons=study.reasons,
        notes=study.notes,
        operating_point=study.about_point,
        rows=rows,
        spreads=any(row["range"] for row in rows),
        networks=len(study.models),
        patient_above=TARGETS[0] in study.above,
        patient=f"{study.probabilities[TARGETS[0]]:.2f}" if answered and study.probabilities else "",
        colours=[(level, f"rgb{colour}") for level, colour in zip(LEVELS, LEVEL_COLOURS, strict=True)],
        views=VIEWS,
        windows=WINDOWS,
        has_images=bool(shown["neck"]),
        has_slices=bool(shown["slices"]),
        phantom=bundle.phantom,
        bundle_digest=bundle.digest,
        facts=_json_markup(_facts(study, rows, places, bundle)),
        images=_json_markup(shown),
        niivue=script_markup("vendor/niivue.umd.js"),
        niivue_version=NIIVUE,
        script=script_markup("study.js"),
    )


def _row(study: PredictedStudy, level: str, places: Places | None) -> dict[str, Any]:
    """Return what the table says of a level; the slice counts from 1 through the series."""
    kept = places.slices.get(level) if places else None
    shown = study.status in (PREDICTED, IMPLAUSIBLE) and study.probabilities
    spread = study.spread(level) if shown else None
    return {
        "name": level,
        "probability": study.probabilities[level] if shown and study.probabilities else None,
        "above": level in study.above,
        "range": spread,
        "spread": "" if spread is None else f"{spread[0]:.2f} to {spread[1]:.2f}",
        "state": study.state(level),
        "slice": None if kept is None or places is None else kept * places.z_step + 1,
    }


def _facts(
    study: PredictedStudy, rows: Sequence[Mapping[str, Any]], places: Places | None, bundle: PageBundle
) -> dict[str, Any]:
    """Return what the page's script knows."""
    levels = [
        {
            "name": row["name"],
            "slice": row["slice"],
            "mm": places.points.get(row["name"]) if places else None,
            "suspicious": places is not None and row["name"] in places.suspicious,
        }
        for row in rows
    ]
    seen = [row for row in rows if places and row["name"] in places.points]
    first = max(seen, key=lambda row: row["probability"] or 0.0)["name"] if seen else ""
    red, green, blue = zip((0, 0, 0), *LEVEL_COLOURS, strict=True)
    labels = ["", *LEVELS]
    values = list(range(len(labels)))
    alpha = [0, *(255 for _ in LEVELS)]
    return {
        "study": study.study,
        "bundle": bundle.digest,
        "levels": levels,
        "first": first,
        "slices": places.series_slices if places else 0,
        "slice_of_mm": places.slice_of_mm if places else None,
        "colours": {"R": red, "G": green, "B": blue, "A": alpha, "I": values, "labels": labels},
    }


def _json_markup(value: Any) -> Any:
    """Return JSON that may stand in a script element: nothing in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
