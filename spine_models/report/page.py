"""The report: one self-contained page on a run."""

from __future__ import annotations

from typing import Any

from spine_models.evaluation.ensemble import ensemble_of, read_predictions
from spine_models.evaluation.truth import read_truth
from spine_models.inference.overlays import LEVEL_COLOURS
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.acceptance import read_acceptances
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.files import read_json
from spine_models.provenance.shelf import Shelf
from spine_models.provenance.vouched import vouched
from spine_models.report.contents import (
    ReportInputs,
    averaging_rows,
    git_commit,
    read_curves,
    read_rows,
    software_versions,
)
from spine_models.report.figures import Curves, auc_bars, calibration_chart, curves_chart, level_bars
from spine_models.report.pictures import draw_examples, level_statuses, mask_flags
from spine_models.report.rendering import render_page

Figure = dict[str, Any]


def report_page(inputs: ReportInputs, code: str) -> str:
    """Return the report as one HTML page that refers to nothing outside itself.

    Args:
        inputs: the files of the run.
        code: fingerprint of the code that reports.

    Raises:
        UserError: if a file is missing or damaged.
    """
    metrics = read_json(vouched(inputs.metrics))
    bundle = read_json(vouched(inputs.bundle))
    half, masks = Shelf(inputs.half), Shelf(inputs.masks)
    truth = read_truth(inputs.train_csv)
    ensemble = ensemble_of(read_predictions(inputs.oof))
    colours = [(level, f"rgb{colour}") for level, colour in zip(LEVELS, LEVEL_COLOURS, strict=True)]
    return render_page(
        "report.html.j2",
        metrics=metrics,
        targets=TARGETS,
        colours=colours,
        averaging=averaging_rows(metrics["averaging"]),
        quarantine=read_rows(vouched(inputs.quarantine)),
        flags=mask_flags(masks),
        statuses=level_statuses(masks) if masks.studies else {},
        examples=draw_examples(ensemble, truth, half, masks),
        figures=_result_figures(metrics),
        curves=_curve_figures(inputs),
        bundle=bundle,
        provenance={
            "commit": git_commit(),
            "code": code,
            "metrics": digest_file(inputs.metrics),
            "versions": software_versions(),
            "accepted": read_acceptances(inputs.output_dir),
        },
    )


def _result_figures(metrics: dict[str, Any]) -> dict[str, Figure]:
    classification = metrics["classification"]
    return {
        "dice": _figure(
            level_bars(metrics["segmentation"]["dice_per_class"], "Dice", "dice"),
            "Dice of each level on held-out studies. The same figures are in the table.",
        ),
        "auc": _figure(auc_bars(classification["auc"], "auc"), "AUC of each target over studies, out of fold."),
        "calibration": _figure(
            calibration_chart(
                {name.replace("_", " "): rows for name, rows in classification["calibration"].items()}, "calibration"
            ),
            "Observed frequency against predicted probability, in fifths; the dashed line is perfect calibration.",
        ),
    }


def _curve_figures(inputs: ReportInputs) -> list[Figure]:
    segmentation = [path for path in inputs.histories if path.parent.parent.name == "segmentation"]
    classifiers = [path for path in inputs.histories if path.parent.parent.name != "segmentation"]
    wanted = (
        (segmentation, "loss", "training loss", "segmentation-loss", "Segmentation: training loss of each fold."),
        (segmentation, "dice_mean", "mean Dice", "segmentation-dice", "Segmentation: Dice on the held-out fold."),
        (classifiers, "loss", "training loss", "classifier-loss", "Classifiers: training loss."),
        (
            classifiers,
            "competition_loss",
            "challenge metric",
            "classifier-metric",
            "Classifiers: challenge metric on the held-out fold, lower is better.",
        ),
    )
    figures = []
    for paths, column, label, name, caption in wanted:
        curves: Curves = read_curves(paths, column)
        if curves:
            figures.append(_figure(curves_chart(curves, "epoch", label, name), caption))
    return figures


def _figure(svg: str, caption: str) -> Figure:
    from markupsafe import Markup

    return {"svg": Markup(svg), "caption": caption}
