"""Predict new studies without Snakemake and without network.

``spine-models predict --bundle B --studies D --out O``
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from spine_models.errors import UserError, run_command
from spine_models.inference.predict_studies import PredictSettings, predict_studies
from spine_models.inference.predictions import PREDICTED
from spine_models.inference.study_folders import folders_to_predict
from spine_models.provenance.fingerprint import Fingerprints
from spine_models.report.predictions_page import PredictionOutputs, publish_predictions

_PACKAGE = Path(__file__).resolve().parents[1]


def main() -> None:
    """Parse the arguments, predict every study, write tables and page, and say where they are."""
    args = _parser().parse_args()
    if args.test_csv and not args.test_csv.is_file():
        raise UserError(f"--test-csv {args.test_csv} does not exist: give the challenge's test.csv, or none")
    settings = PredictSettings(1, args.allow_symlinks, args.threads, args.device)
    folders = folders_to_predict(args.studies)
    manifest = args.out / "studies.json"
    code = Fingerprints(_PACKAGE.parent)(f"{_PACKAGE.name}/commands/predict.py")
    predict_studies(folders, args.bundle, manifest, settings, gpus=args.gpus, code=code, progress=_say)
    outputs = PredictionOutputs(args.out / "predictions.csv", args.out / "submission.csv", args.out / "index.html")
    studies = publish_predictions([manifest], args.bundle, args.test_csv, outputs)
    predicted = sum(study.status == PREDICTED for study in studies)
    sys.stdout.write(f"{predicted} of {len(studies)} studies predicted; the others got the prior\n{outputs.page}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spine-models predict", description="Predict new studies.")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--studies", type=Path, required=True, help="folder with one folder a study, or one study")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables, page, masks and pictures")
    parser.add_argument("--test-csv", type=Path, help="test.csv of the challenge: answer its rows in its order")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--gpus", type=int, choices=(0, 1), default=1, help="0: compute on the CPU")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of torch on the CPU")
    parser.add_argument("--allow-symlinks", action="store_true", help="follow links that lead out of --studies")
    return parser


def _say(number: int, total: int, sentence: str) -> None:
    sys.stderr.write(f"{number}/{total} {sentence}\n")


if __name__ == "__main__":
    run_command(main)
