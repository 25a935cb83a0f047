"""One block in this process: ``python -m benchmarks.gpu.block NAME --out FOLDER --device cuda``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.gpu.bench import Bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], required=True)
    args = parser.parse_args()
    importlib.import_module(f"benchmarks.gpu.{args.name}").measure(Bench(args.name, args.out, args.device))


if __name__ == "__main__":
    main()
