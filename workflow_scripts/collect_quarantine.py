"""Rule collect_quarantine: every study that cannot be used, and why."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.data.dataset.layout import TRAIN_TABLE
from spine_models.data.stages.collect_quarantine import (
    QuarantineInputs,
    QuarantineSettings,
    collect_quarantine,
    write_quarantine,
)
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import digests, there, vouch


def main() -> None:
    """Parse the rule's arguments and write the table."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, QuarantineInputs)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--listed", default="", metavar="DIGEST")
    args = parser.parse_args()
    inputs = inputs_from(QuarantineInputs, args)
    rows = collect_quarantine(inputs, args.listed)
    write_quarantine(args.out, rows, settings_from(QuarantineSettings, args.config))
    read = digests(
        train=there(inputs.dataset / TRAIN_TABLE), index=inputs.index, half=inputs.half, labels=inputs.labels
    )
    vouch(args.out, Key("collect_quarantine", read, args.config, args.code))


if __name__ == "__main__":
    run_stage(main)
