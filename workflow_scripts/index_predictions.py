"""Rule index_predictions: which studies the tree holds, and which files are of them."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.prediction_tables import PredictionIndex
from spine_models.data.stages.index_predictions import IndexPredictionsSettings, index_predictions
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.settings import settings_from


def main() -> None:
    """Parse the rule's arguments, read the headers and write both tables."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--studies", type=Path, required=True)
    parser.add_argument("--planned", default="", metavar="DIGEST")
    args = parser.parse_args()
    settings = settings_from(IndexPredictionsSettings, args.config)
    index_predictions(args.root, PredictionIndex(args.files, args.studies), settings, args.code, args.planned)


if __name__ == "__main__":
    run_stage(main)
