"""Rule make_crops: one full-resolution crop of the spine for each study of a shard."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.crops.crop import CropSettings
from spine_models.data.dicom.study import VolumeSettings
from spine_models.data.stages.make_crops import CropInputs, make_crops
from spine_models.log import say
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from


def main() -> None:
    """Parse the rule's arguments, cut the crops and name the studies that show no vertebra."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, CropInputs)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    crops = settings_from(CropSettings, args.config.pop("crops"))
    conversion = settings_from(VolumeSettings, args.config)
    for study in make_crops(inputs_from(CropInputs, args), conversion, crops, code=args.code, out=args.out):
        say(f"study {study} shows no usable vertebra: its prediction will be the training prior")


if __name__ == "__main__":
    run_stage(main)
