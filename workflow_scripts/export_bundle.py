"""Rule export_bundle: one folder with all that a prediction needs."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.inference.export_bundle import ExportInputs, ExportSettings, export_bundle
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.keys import Key
from spine_models.provenance.settings import settings_from
from spine_models.provenance.vouched import digests, vouch


def main() -> None:
    """Parse the rule's arguments and write the bundle."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, ExportInputs)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    settings = settings_from(ExportSettings, args.config)
    inputs = inputs_from(ExportInputs, args)
    export_bundle(inputs, settings, code=args.code, out=args.out)
    # What it was made from beside this table, the bundle itself names.
    vouch(
        args.out,
        Key("export_bundle", digests(train=[inputs.train_csv] if inputs.train_csv else []), args.config, args.code),
    )
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
