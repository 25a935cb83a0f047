"""Rule report: one self-contained page on the run."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.files import write_text
from spine_models.report.contents import ReportInputs
from spine_models.report.page import report_page


def main() -> None:
    """Parse the rule's arguments and write the page."""
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--quarantine", type=Path, required=True)
    parser.add_argument("--histories", type=Path, nargs="+", required=True)
    parser.add_argument("--oof", type=Path, nargs="+", required=True)
    parser.add_argument("--train-csv", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--half", type=Path, nargs="*", default=[])
    parser.add_argument("--masks", type=Path, nargs="*", default=[])
    parser.add_argument("--run", type=Path, required=True, help="output_dir of the run")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    inputs = ReportInputs(
        metrics=args.metrics,
        quarantine=args.quarantine,
        histories=args.histories,
        oof=args.oof,
        train_csv=args.train_csv,
        bundle=args.bundle,
        half=args.half,
        masks=args.masks,
        output_dir=args.run,
    )
    write_text(args.out, report_page(inputs, args.code))


if __name__ == "__main__":
    run_stage(main)
