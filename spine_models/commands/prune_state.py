"""Remove the states of trainings that nothing uses any more: ``spine-models prune-state results``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spine_models.errors import run_command
from spine_models.training.state import prune_all


def main() -> None:
    """Parse the command line and keep only the last used state of every training."""
    parser = argparse.ArgumentParser(prog="spine-models prune-state", description=__doc__)
    parser.add_argument("output_dir", type=Path, help="the configuration's output_dir")
    args = parser.parse_args()
    removed = prune_all(args.output_dir / "state")
    for folder in removed:
        sys.stdout.write(f"removed {folder}\n")
    sys.stdout.write(f"{len(removed)} old states removed\n")


if __name__ == "__main__":
    run_command(main)
