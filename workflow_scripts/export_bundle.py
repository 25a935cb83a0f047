"""Rule export_bundle: one folder with all that a prediction needs."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.inference.export_bundle import ExportSettings, export_bundle
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.settings import settings_from


def main() -> None:
    """Parse the rule's arguments and write the bundle."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--segmentation", type=Path, nargs="+", required=True)
    parser.add_argument("--classification", type=Path, nargs="+", required=True)
    parser.add_argument("--train-csv", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    settings = settings_from(ExportSettings, args.config)
    export_bundle(args.out, args.segmentation, args.classification, args.train_csv, settings, code=args.code)


if __name__ == "__main__":
    run_stage(main)
