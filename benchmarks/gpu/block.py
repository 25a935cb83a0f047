"""One block in this process: ``python -m benchmarks.gpu.block NAME --out FOLDER --device cuda``."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

from benchmarks.gpu.bench import Bench
from spine_models.compute.leases import DEVICES_OVERRIDE, driver_gpus
from spine_models.errors import UserError
from spine_models.processes import begin_child


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], required=True)
    args = parser.parse_args()
    begin_child()
    if args.device == "cuda" and args.name != "versions":
        _believe_in_a_device()
    importlib.import_module(f"benchmarks.gpu.{args.name}").measure(Bench(args.name, args.out, args.device))


def _believe_in_a_device() -> None:
    """Measure all the same where the driver's library is not found; the block ``versions`` tells of it."""
    try:
        found = driver_gpus()
    except UserError:
        found = ()
    if not found:
        os.environ.setdefault(DEVICES_OVERRIDE, "0")


if __name__ == "__main__":
    main()
