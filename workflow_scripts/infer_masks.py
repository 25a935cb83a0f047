"""Rule infer_masks: the vertebra masks of a shard, each by networks that did not learn from the study."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.inference.mask_files import InferMasksSettings, MaskInputs, infer_masks
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from


def main() -> None:
    """Parse the rule's arguments, predict and write the manifest."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--gpus", type=int, required=True)
    add_inputs(parser, MaskInputs)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    settings = settings_from(InferMasksSettings, args.config)
    infer_masks(inputs_from(MaskInputs, args), settings, gpus=args.gpus, code=args.code, out=args.out)
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
