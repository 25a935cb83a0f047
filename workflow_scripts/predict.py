"""Rule predict: collect the shards of a prediction into tables and a page."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.prediction_tables import PredictionIndex
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.report.predictions_page import PredictionInputs, PredictionOutputs, publish_predictions


def main() -> None:
    """Parse the rule's arguments, collect and write."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, PredictionInputs)
    add_inputs(parser, PredictionIndex)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--submission", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--operating-point", required=True)
    args = parser.parse_args()
    inputs, index = inputs_from(PredictionInputs, args), inputs_from(PredictionIndex, args)
    outputs = PredictionOutputs(args.out, args.submission, args.index)
    publish_predictions(inputs, index, outputs, args.operating_point)
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
