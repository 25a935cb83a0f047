"""Rule predict: collect the shards of a prediction into tables and a page."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.prediction_tables import PredictionIndex
from spine_models.provenance.arguments import stage_parser
from spine_models.report.predictions_page import PredictionOutputs, publish_predictions


def main() -> None:
    """Parse the rule's arguments, collect and write."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--studies", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, nargs="+", required=True)
    parser.add_argument("--test-csv", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--submission", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    args = parser.parse_args()
    index = PredictionIndex(args.files, args.studies)
    outputs = PredictionOutputs(args.out, args.submission, args.index)
    publish_predictions(args.predictions, index, args.bundle, args.test_csv, outputs)


if __name__ == "__main__":
    run_stage(main)
