"""Rule train_classifier: one variant of the fracture classifier on one fold."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.compute.devices import use_device
from spine_models.data.crops.crop import CropSettings
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from
from spine_models.training.classification import ClassificationInputs, ClassificationTask, train_classifier
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.job import Job


def main() -> None:
    """Parse the rule's arguments, train and publish."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--variant", required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    add_inputs(parser, ClassificationInputs)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = args.config
    job = Job(
        stage="train_classifier",
        title={"variant": args.variant, "fold": args.fold},
        seed=config["seed"],
        workers=config["workers"],
        checkpoint_minutes=float(config["checkpoint_minutes"]),
        keep_best=config["keep_best"],
        code=args.code,
        state=args.state,
        out=args.out,
    )
    inputs = inputs_from(ClassificationInputs, args)
    recipe = settings_from(ClassificationRecipe, config["recipe"])
    crops = settings_from(CropSettings, config["crops"])
    task = ClassificationTask(inputs, args.fold, recipe, crops, config.get("initial", ()))
    train_classifier(task, job, use_device(config["device"], args.gpus, config["math_threads"]))
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
