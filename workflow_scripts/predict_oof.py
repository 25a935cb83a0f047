"""Rule predict_oof: the studies of a fold, by the model that did not see them."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.inference.oof import OofInputs, OofSettings, predict_oof
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from


def main() -> None:
    """Parse the rule's arguments, predict and write the table."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--variant", required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    add_inputs(parser, OofInputs)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    inputs = inputs_from(OofInputs, args)
    settings = settings_from(OofSettings, args.config)
    predict_oof(inputs, args.variant, args.fold, settings, gpus=args.gpus, code=args.code, out=args.out)
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
