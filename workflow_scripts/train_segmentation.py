"""Rule train_segmentation: the segmentation network of one fold."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.compute.devices import use_device
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from
from spine_models.training.job import Job
from spine_models.training.segmentation import SegmentationInputs, SegmentationTask, train_segmentation
from spine_models.training.segmentation_recipe import SegmentationRecipe


def main() -> None:
    """Parse the rule's arguments, train and publish."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    add_inputs(parser, SegmentationInputs)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = args.config
    job = Job(
        stage="train_segmentation",
        title={"fold": args.fold},
        seed=config["seed"],
        workers=config["workers"],
        checkpoint_minutes=float(config["checkpoint_minutes"]),
        # Only the best epoch is published.
        keep_best=1,
        code=args.code,
        state=args.state,
        out=args.out,
    )
    inputs = inputs_from(SegmentationInputs, args)
    recipe = settings_from(SegmentationRecipe, config["recipe"])
    task = SegmentationTask(inputs, args.fold, recipe, config.get("initial", ()))
    train_segmentation(task, job, use_device(config["device"], args.gpus, config["math_threads"]))


if __name__ == "__main__":
    run_stage(main)
