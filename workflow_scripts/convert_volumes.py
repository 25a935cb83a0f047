"""Rule convert_volumes: one shard's studies as full and half-size volumes of Hounsfield units."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dicom.study import VolumeSettings
from spine_models.data.stages.convert_volumes import VolumeInputs, convert_volumes
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from


def main() -> None:
    """Parse the rule's arguments and convert."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, VolumeInputs)
    parser.add_argument("--volumes", type=Path, required=True)
    parser.add_argument("--half", type=Path, required=True)
    parser.add_argument("--again", default="", metavar="DIGEST")
    args = parser.parse_args()
    settings = settings_from(VolumeSettings, args.config)
    convert_volumes(inputs_from(VolumeInputs, args), args.volumes, args.half, settings, args.code, args.again)


if __name__ == "__main__":
    run_stage(main)
