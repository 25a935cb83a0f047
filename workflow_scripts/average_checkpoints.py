"""Rule average_checkpoints: one classifier from the best epochs of its training."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.compute.devices import use_device
from spine_models.data.crops.crop import CropSettings
from spine_models.log import say
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from
from spine_models.training.average_checkpoints import AveragingInputs, AveragingSettings, average_checkpoints


def main() -> None:
    """Parse the rule's arguments, average, judge and write."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--variant", required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    add_inputs(parser, AveragingInputs)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = args.config
    inputs = inputs_from(AveragingInputs, args)
    settings = AveragingSettings(config["average"], config["greedy"], settings_from(CropSettings, config["crops"]))
    compute = use_device(config["device"], args.gpus, config["math_threads"])
    report = average_checkpoints(inputs, args.fold, settings, compute, code=args.code, out=args.out)
    say(
        f"{args.variant}, fold {args.fold}: best single epoch {report.best_single:.4f}, "
        f"average of {len(report.epochs)} {report.averaged:.4f}; published: {report.published}"
    )
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
