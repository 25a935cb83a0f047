"""Rule make_folds: which study belongs to which fold, over the studies that are not in quarantine."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.folds import FoldSettings
from spine_models.data.dataset.layout import TRAIN_TABLE
from spine_models.data.stages.make_folds import FoldInputs, make_folds
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import digests, there, vouch


def main() -> None:
    """Parse the rule's arguments and write both tables of folds."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, FoldInputs)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--segmentation", type=Path, required=True)
    parser.add_argument("--classification", type=Path, required=True)
    parser.add_argument("--listed", default="", metavar="DIGEST")
    args = parser.parse_args()
    inputs = inputs_from(FoldInputs, args)
    outputs = args.segmentation, args.classification
    make_folds(inputs, outputs, args.state, settings_from(FoldSettings, args.config), args.listed)
    read = digests(train=there(inputs.dataset / TRAIN_TABLE), half=inputs.half, labels=inputs.labels)
    for table in outputs:
        vouch(table, Key("make_folds", read, args.config, args.code))
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
