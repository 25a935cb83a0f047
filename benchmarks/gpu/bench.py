"""What every block measures with: rows, times, peaks of memory, errors against float64."""

from __future__ import annotations

import gc
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.blocks import ROWS, write_row

GIB = 2**30


@dataclass(frozen=True)
class Bench:
    """Where a block measures and where its rows go.

    Attributes:
        block: its name.
        folder: of the rows.
        kind: "cuda", or "cpu" for a rehearsal at a small size, whose figures mean nothing.
    """

    block: str
    folder: Path
    kind: str

    @property
    def device(self) -> torch.device:
        """The device."""
        return torch.device("cuda", 0) if self.kind == "cuda" else torch.device("cpu")

    @property
    def real(self) -> bool:
        """False in a rehearsal."""
        return self.kind == "cuda"

    def row(self, case: str, **facts: Any) -> None:
        """Write and print one row; ``ok=False`` marks what is not as it should be."""
        rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in facts.items()}
        write_row(self.folder / ROWS, {"block": self.block, "case": case, **rounded})

    @contextmanager
    def case(self, name: str) -> Iterator[dict[str, Any]]:
        """Collect the facts of a row; an error becomes a row of its own and does not end the block."""
        facts: dict[str, Any] = {}
        self.clean()
        try:
            yield facts
        except torch.OutOfMemoryError as error:
            facts |= {"ok": False, "why": f"out of memory: {str(error).splitlines()[0]}"}
        except Exception as error:
            traceback.print_exc()
            facts |= {"ok": False, "why": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        self.row(name, **facts)

    def clean(self) -> None:
        """Free what earlier cases held and forget their peaks."""
        gc.collect()
        if self.real:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def cap(self, gib: float | None) -> None:
        """Let the allocator hold no more than ``gib``, as on a smaller card; None: all that there is."""
        if self.real:
            total = torch.cuda.get_device_properties(0).total_memory / GIB
            torch.cuda.set_per_process_memory_fraction(1.0 if gib is None else min(1.0, gib / total))

    def peak(self) -> dict[str, float]:
        """Return the largest memory since ``clean``, in GiB: of tensors, of the allocator, and of the whole device."""
        if not self.real:
            return {}
        free, total = torch.cuda.mem_get_info()
        reserved = torch.cuda.memory_reserved()
        return {
            "tensors_gib": torch.cuda.max_memory_allocated() / GIB,
            "reserved_gib": torch.cuda.max_memory_reserved() / GIB,
            "outside_gib": (total - free - reserved) / GIB,
        }

    def seconds(self, function: Callable[[], Any], repeats: int = 5, budget: float = 4.0) -> float:
        """Return the median time of a call, the first left out; fewer calls where ``budget`` seconds are over."""
        started = time.monotonic()
        self.seconds_of(function)
        found: list[float] = []
        while not found or (len(found) < repeats and time.monotonic() - started < budget):
            found.append(self.seconds_of(function))
        return statistics.median(found)

    def seconds_of(self, function: Callable[[], Any]) -> float:
        """Return the time of one call."""
        if not self.real:
            started = time.perf_counter()
            function()
            return time.perf_counter() - started
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000.0


def error(found: torch.Tensor, reference: torch.Tensor) -> float:
    """Return ``|found - reference| / |reference|``; NaN where a value is not finite."""
    reference = reference.double().cpu()
    return float((found.double().cpu() - reference).norm() / reference.norm())
