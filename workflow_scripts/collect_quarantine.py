"""Rule collect_quarantine: every study that cannot be used, and why."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.layout import TRAIN_TABLE
from spine_models.data.stages.collect_quarantine import QuarantineSettings, collect_quarantine, write_quarantine
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import digests, vouch


def main() -> None:
    """Parse the rule's arguments and write the table."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--index", type=Path, nargs="+", required=True)
    parser.add_argument("--half", type=Path, nargs="+", required=True)
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    settings = settings_from(QuarantineSettings, args.config)
    write_quarantine(args.out, collect_quarantine(args.dataset, args.index, args.half, args.labels), settings)
    inputs = digests(train=args.dataset / TRAIN_TABLE, index=args.index, half=args.half, labels=args.labels)
    vouch(args.out, Key("collect_quarantine", inputs, args.config, args.code))


if __name__ == "__main__":
    run_stage(main)
