"""Rule report: one self-contained page on the run."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser
from spine_models.provenance.files import write_text
from spine_models.report.contents import ReportInputs
from spine_models.report.page import report_page


def main() -> None:
    """Parse the rule's arguments and write the page."""
    parser = stage_parser(__doc__ or "")
    add_inputs(parser, ReportInputs)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    inputs = inputs_from(ReportInputs, args)
    write_text(args.out, report_page(inputs, args.code))
    args.seen.require_unchanged()


if __name__ == "__main__":
    run_stage(main)
