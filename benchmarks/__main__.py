"""Run the benchmarks, print a table of ratios and write ``benchmarks/results.json``.

    python -m benchmarks [NAME ...]
    python -m benchmarks gpu [BLOCK ...] --out FOLDER
    python -m benchmarks localisation --bundle BUNDLE --phantoms DIR

A benchmark is a module of this folder with a function ``measure() -> list[Row]``. Each runs in a process of its own,
one after the other, so that none inherits another's memory, threads or caches. The exit status is 1 where a target
is missed or a benchmark fails; the others are measured all the same.

``gpu`` measures the GPU of this machine in at most five minutes; blocks and time limits are in ``gpu/blocks.py``.
``localisation`` compares the slices that a bundle points at with the fractures of phantoms (``localisation.py``).
"""

# Apart from the runner, whose functions the processes have to import by name.
import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    if sys.argv[1:2] == ["localisation"]:
        from benchmarks import localisation

        return localisation.main(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all if none is named")
    parser.add_argument("--out", type=Path, help="where to write the rows; a folder for gpu")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="of gpu; cpu rehearses its blocks")
    args = parser.parse_args()
    if args.names[:1] == ["gpu"]:
        from benchmarks.gpu.blocks import run_blocks

        return run_blocks(args.names[1:], args.out or FOLDER / "gpu-results", args.device)
    from benchmarks import runner

    modules = [f"benchmarks.{name}" for name in args.names] or runner.benchmarks()
    return runner.main(modules, args.out or FOLDER / "results.json")


if __name__ == "__main__":
    sys.exit(main())
