"""The report: one self-contained page on a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
from spine_models.report.data_section import geometry_rows, prevalence_rows, rule_times, written_at
from spine_models.report.figures import Curves, auc_bars, calibration_chart, curves_chart, level_bars
from spine_models.report.pictures import draw_examples, level_statuses, mask_flags
from spine_models.report.rendering import figure_text, render_page

Figure = dict[str, Any]
GRADES = ("subtle", "moderate", "obvious")
"""Those of phantoms, from hard to easy; a test compares them, so that phantoms are not part of the page's key."""


class Numbers(NamedTuple):
    """The numbers of a chart as a table, for those who cannot see it; the first cell of a row names it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


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
        data={
            "studies": len(truth),
            "volumes": len(half.studies),
            "masks": len(masks.studies),
            "geometry": geometry_rows(half),
            "prevalence": prevalence_rows(truth),
        },
        times=rule_times(inputs.output_dir),
        evaluated=written_at(inputs.metrics),
        grades=sorted(metrics["per_grade"].items(), key=lambda item: (_grade_position(item[0]), item[0])),
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


def _grade_position(grade: str) -> int:
    """From hard to easy; a grade that a phantom of other code drew comes last."""
    return GRADES.index(grade) if grade in GRADES else len(GRADES)


def _result_figures(metrics: dict[str, Any]) -> dict[str, Figure]:
    classification = metrics["classification"]
    calibration = {name.replace("_", " "): rows for name, rows in classification["calibration"].items()}
    return {
        "dice": _figure(
            level_bars(metrics["segmentation"]["dice_per_class"], "Dice", "dice"),
            "Dice of each level on held-out studies. The same figures are in the table.",
        ),
        "auc": _figure(
            auc_bars(classification["auc"], classification["auc_ci95"], "auc"),
            "AUC of each target over studies, out of fold, with 95 % intervals. The same figures are in the table.",
        ),
        "calibration": _figure(
            calibration_chart(calibration, "calibration"),
            "Observed frequency against predicted probability, in fifths; the dashed line is perfect calibration.",
            Numbers(
                ("Targets", "Predicted", "Observed", "n"),
                [
                    (name, figure_text(row["predicted"]), figure_text(row["observed"]), str(row["n"]))
                    for name, rows in calibration.items()
                    for row in rows
                ],
            ),
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
            chart = curves_chart(curves, "epoch", label, name)
            figures.append(_figure(chart, f"{caption} Epochs count from 1, as in the logs.", _curve_numbers(curves)))
    return figures


def _curve_numbers(curves: Curves) -> Numbers:
    """Return one row an epoch with a column for each line; a line without the epoch has a dash."""
    lines = {name: dict(points) for name, points in curves.items()}
    epochs = sorted({epoch for line in lines.values() for epoch in line})
    rows = [(f"{epoch:g}", *(figure_text(line.get(epoch)) for line in lines.values())) for epoch in epochs]
    return Numbers(("Epoch", *lines), rows)


def _figure(svg: str, caption: str, numbers: Numbers | None = None) -> Figure:
    from markupsafe import Markup

    return {"svg": Markup(svg), "caption": caption, "numbers": numbers}
