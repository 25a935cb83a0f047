"""Rule make_folds: which study belongs to which fold, over the studies that are not in quarantine."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.folds import FoldSettings
from spine_models.data.dataset.layout import TRAIN_TABLE
from spine_models.data.stages.make_folds import make_folds
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import digests, vouch


def main() -> None:
    """Parse the rule's arguments and write both tables of folds."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--half", type=Path, nargs="+", required=True)
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--segmentation", type=Path, required=True)
    parser.add_argument("--classification", type=Path, required=True)
    args = parser.parse_args()
    settings = settings_from(FoldSettings, args.config)
    outputs = args.segmentation, args.classification
    make_folds(args.dataset, args.half, args.labels, outputs, args.state, settings)
    inputs = digests(train=args.dataset / TRAIN_TABLE, half=args.half, labels=args.labels)
    for table in outputs:
        vouch(table, Key("make_folds", inputs, args.config, args.code))


if __name__ == "__main__":
    run_stage(main)
