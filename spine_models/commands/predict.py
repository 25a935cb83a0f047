"""Predict new studies without Snakemake and without network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spine_models.errors import UserError, ending_on_sigterm
from spine_models.log import say, show

SOME, NONE = 2, 3
"""Exit status where some studies, or none, were predicted."""
if TYPE_CHECKING:
    from spine_models.compute.flips import Flip

_ROOT = Path(__file__).resolve().parents[2]
_MOST_THREADS = 4096
"""More than any machine has cores; torch fails by a trace where a number does not fit its own."""


@ending_on_sigterm()
def predict(
    bundle: Annotated[Path, typer.Option(metavar="BUNDLE", help="The bundle: its folder, or one file.")],
    studies: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the studies, packed in whatever way.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for tables, page, masks and pictures.")],
    test_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="test.csv of the challenge: answer its rows in its order.")
    ] = None,
    series: Annotated[
        str,
        typer.Option(metavar="UID", help="SeriesInstanceUID to read in a study that has it.", show_default=False),
    ] = "",
    series_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table with the columns study and series: which series to read.")
    ] = None,
    device: Annotated[Literal["auto", "cuda", "cpu"], typer.Option(help="Where to compute.")] = "auto",
    gpus: Annotated[int, typer.Option(min=0, max=1, help="0: compute on the CPU.")] = 1,
    threads: Annotated[
        int, typer.Option(min=1, max=_MOST_THREADS, help="Threads of torch on the CPU.", show_default="all cores")
    ] = os.cpu_count() or 1,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        typer.Option(help="In which the networks compute; auto: what the device is best at."),
    ] = "auto",
    flips: Annotated[
        Literal["none", "horizontal", "none,horizontal"] | None,
        typer.Option(help="Flips of which the probabilities are averaged.", show_default="the bundle's"),
    ] = None,
    members: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Networks to use, by name or variant.", show_default="all of the bundle's"),
    ] = "",
    operating_point: Annotated[
        Literal["sensitivity_90", "specificity_90", "youden", "none"],
        typer.Option(help="From which probability on targets are marked."),
    ] = "sensitivity_90",
    formats: Annotated[
        Literal["nifti", "seg", "nifti,seg"],
        typer.Option("--format", help="Files of the mask, on the original images: NIfTI, DICOM SEG."),
    ] = "nifti",
    seg_empty_frames: Annotated[
        bool, typer.Option("--seg-empty-frames", help="DICOM SEG with a frame for each level and slice.")
    ] = False,
    copy_patient: Annotated[
        bool, typer.Option("--copy-patient", help="DICOM SEG with the patient's name, birth date and sex.")
    ] = False,
    max_study_mb: Annotated[
        int, typer.Option(min=1, help="Largest full-size volume (megabytes); a larger study is refused.")
    ] = 1000,
    allow_symlinks: Annotated[
        bool, typer.Option("--allow-symlinks", help="Follow links that lead out of --studies.")
    ] = False,
) -> None:
    """Predict new studies without Snakemake or network.

    Writes predictions.csv, submission.csv, index.html, the masks and inventory.csv, which accounts for every file.
    After an interruption, run it again: finished studies are kept. The status is 0 if every study was predicted, 2 if
    some were, 3 if none was, 1 for a mistake that you can mend.

    Examples:
      spine-models predict --bundle results/bundle --studies /data/new --out predictions
      spine-models predict --bundle B --studies rsna/test_images --test-csv rsna/test.csv --out O
      spine-models predict --bundle B --studies D --out O --flips none,horizontal
      spine-models predict --bundle B --studies D --out O --format nifti,seg
      spine-models predict --bundle B --studies D --out O --members ir-0 --operating-point none
    """
    from spine_models.configuration.results_folder import make_private, require_writable
    from spine_models.data.dataset.layout import require_apart
    from spine_models.data.dataset.prediction_tables import PredictionIndex
    from spine_models.data.dataset.tables import read_series, read_test
    from spine_models.data.dataset.uids import is_uid
    from spine_models.data.stages.index_predictions import (
        IndexPredictionsSettings,
        index_predictions,
        read_studies,
        require_tree,
    )
    from spine_models.inference.bundle_description import DESCRIPTION, names_of, require_members
    from spine_models.inference.predict_studies import EVERY_STUDY, PredictSettings, predict_studies
    from spine_models.inference.prediction_files import MaskFileSettings
    from spine_models.inference.predictions import IMPLAUSIBLE, PREDICTED, SEGMENTED
    from spine_models.provenance.fingerprint import fingerprint
    from spine_models.report.predictions_page import PredictionInputs, PredictionOutputs, publish_predictions

    chosen = names_of(members) if members else ()
    if (studies / DESCRIPTION).is_file() and bundle.is_dir() and not (bundle / DESCRIPTION).is_file():
        raise UserError(f"--studies {studies} is a bundle, and --bundle {bundle} is not: exchange the two")
    require_members(bundle, chosen)
    require_tree(studies)
    require_writable(out, "--out")
    require_apart(studies, out)
    if series and not is_uid(series):
        raise UserError(f"--series {series} is not a UID: give the SeriesInstanceUID, which is digits and dots")
    if test_csv:
        read_test(test_csv)
    masks = MaskFileSettings(tuple(formats.split(",")), seg_empty_frames, copy_patient)
    wanted = {**(read_series(series_csv) if series_csv else {}), **({EVERY_STUDY: series} if series else {})}
    make_private(out)
    manifest, index = out / "studies.json", PredictionIndex(out / "index" / "files.csv", out / "index" / "studies.csv")
    code = fingerprint(code_parts())
    index_predictions(studies, index, IndexPredictionsSettings(1, allow_symlinks), code)
    found = read_studies(index, 0)
    named = {*wanted} - {EVERY_STUDY}
    strangers = named - {name for study in found for name in (study.name, study.asked_as)}
    if strangers:
        say(f"{series_csv} names studies that {studies} does not hold: {len(strangers)} of {len(named)}")
    predict_studies(
        studies,
        found,
        bundle,
        manifest,
        PredictSettings(
            allow_symlinks, threads, wanted, device, flips_of(flips), masks, max_study_mb, chosen, precision
        ),
        gpus=gpus,
        code=code,
        progress=_say,
    )
    outputs = PredictionOutputs(out / "predictions.csv", out / "submission.csv", out / "index.html")
    answered = publish_predictions(PredictionInputs([manifest], bundle, test_csv), index, outputs, operating_point)
    predicted = sum(study.status in (PREDICTED, SEGMENTED) for study in answered)
    aside = sum(study.status == IMPLAUSIBLE for study in answered)
    more = f", {aside} implausible" if aside else ""
    show(f"{outputs.page}\n{predicted} of {len(answered)} studies predicted{more}")
    if predicted < len(answered):
        raise SystemExit(SOME if predicted else NONE)


def flips_of(text: str | None) -> tuple[Flip, ...] | None:
    """Return the flips that ``--flips`` names, None where the bundle's own are to be taken."""
    from spine_models.compute.flips import AXES

    return None if text is None else tuple(flip for flip in AXES if flip in text.split(","))


def code_parts() -> dict[str, str]:
    """Return the digests of the modules that compute a prediction, whatever networks the bundle holds.

    This module is not one of them: the wording of a command is part of no key.
    """
    from spine_models.models.networks import modules_of_stages
    from spine_models.provenance.fingerprint import Fingerprints

    networks = modules_of_stages("segmentation", "classification")
    return Fingerprints(_ROOT).parts("spine_models/inference/predict_studies.py", networks)


def _say(number: int, total: int, sentence: str) -> None:
    say(f"{number}/{total} {sentence}")
