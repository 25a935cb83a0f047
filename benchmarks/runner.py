"""Finds the benchmarks, measures each in a process of its own and tells what came of it."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from benchmarks.row import Row

FOLDER = Path(__file__).parent


def benchmarks() -> list[str]:
    """Return the modules of the folder that measure, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]) if module.name != "__main__")
    return [f"benchmarks.{name}" for name in names if hasattr(importlib.import_module(f"benchmarks.{name}"), "measure")]


def measure_all(modules: Iterable[str]) -> tuple[list[Row], list[str]]:
    """Measure each module in a fresh process; return the rows, and the modules that failed."""
    rows: list[Row] = []
    failed = []
    for module in modules:
        sys.stderr.write(f"{module} ...\n")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                rows += pool.submit(_measure, module).result()
            except Exception:
                traceback.print_exc()
                failed.append(module)
    return rows, failed


def _measure(module: str) -> list[Row]:
    measure = cast(Callable[[], list[Row]], importlib.import_module(module).measure)
    return measure()


def table(rows: Iterable[Row]) -> Table:
    """Return the rows as a table for people."""
    shown = Table("benchmark")
    for name in ("ours", "other", "ratio", "target"):
        shown.add_column(name, justify="right")
    shown.add_column("ok")
    for row in rows:
        figures = (row.ours, row.other, row.ratio, row.target)
        shown.add_row(row.name, *("" if value is None else f"{value:g}" for value in figures), _verdict(row))
    return shown


def _verdict(row: Row) -> str:
    if row.target is None:
        return "-"
    return "yes" if row.ok else "[red]no"


def main(modules: list[str], results: Path) -> int:
    """Measure the modules, print the table and write the rows to ``results``; return the exit status."""
    rows, failed = measure_all(modules)
    results.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    Console().print(table(rows))
    for module in failed:
        sys.stderr.write(f"{module} failed; its trace is above\n")
    return int(bool(failed) or not all(row.ok for row in rows))
