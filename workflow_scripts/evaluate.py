"""Rule evaluate: every figure of the run in one file."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.evaluation.evaluate import EvaluationInputs, EvaluationSettings, evaluate
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.files import write_json
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import vouch


def main() -> None:
    """Parse the rule's arguments, evaluate and write ``metrics.json``."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, EvaluationInputs)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    inputs = inputs_from(EvaluationInputs, args)
    metrics = evaluate(inputs, settings_from(EvaluationSettings, args.config), args.code)
    write_json(args.out, metrics)
    vouch(args.out, Key("evaluate", metrics["provenance"]["inputs"], args.config, args.code))
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
