"""Fetch a published checkpoint, or take it from a local source, and verify its SHA-256."""

from __future__ import annotations

from pathlib import Path

from spine_models.command_line import run_stage
from spine_models.log import say
from spine_models.models.pretrained_download import fetch
from spine_models.provenance.arguments import stage_parser


def main() -> None:
    """Parse the arguments of the rule and fetch the file."""
    parser = stage_parser("Fetch a published checkpoint and verify it.")
    parser.add_argument("--name", required=True, help="file name of the checkpoint; ends in digits of its SHA-256")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    sha256 = fetch(args.name, args.out, args.config["source"])
    say(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256}")


if __name__ == "__main__":
    run_stage(main)
