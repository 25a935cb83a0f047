"""Rule convert_labels: one shard's label maps on the grid of the half-size volumes."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.labels.onto_grid import LabelSettings
from spine_models.data.stages.convert_labels import LabelInputs, convert_labels
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.settings import settings_from


def main() -> None:
    """Parse the rule's arguments and convert."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, LabelInputs)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--again", default="", metavar="DIGEST")
    args = parser.parse_args()
    settings = settings_from(LabelSettings, args.config)
    convert_labels(inputs_from(LabelInputs, args), args.out, settings, args.code, args.again)


if __name__ == "__main__":
    run_stage(main)
