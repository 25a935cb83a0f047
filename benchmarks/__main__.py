"""Run the benchmarks, print a table of ratios and write ``benchmarks/results.json``.

    python -m benchmarks [NAME ...]

A benchmark is a module of this folder with a function ``measure() -> list[Row]``. Each runs in a process of its own,
one after the other, so that none inherits another's memory, threads or caches. The exit status is 1 where a target
is missed or a benchmark fails; the others are measured all the same.
"""

# Apart from the runner, whose functions the processes have to import by name.
import argparse
import sys
from pathlib import Path

from benchmarks.runner import FOLDER, benchmarks, main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all if none is named")
    parser.add_argument("--out", type=Path, default=FOLDER / "results.json", help="where to write the rows")
    args = parser.parse_args()
    sys.exit(main([f"benchmarks.{name}" for name in args.names] or benchmarks(), args.out))
