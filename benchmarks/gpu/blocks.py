"""The blocks of ``python -m benchmarks gpu``: each in a child process with a time limit, most valuable first.

A block that fails, hangs or is killed for memory costs only its own rows: every row is on disk before the next begins.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.errors import UserError

ROWS = "gpu.jsonl"
"""File of the output folder: one JSON object per row."""
TOTAL_SECONDS = 300.0
_REHEARSAL_SLACK = 10.0
"""How much longer a block may take on the CPU."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes:
        name: module of this folder with a function ``measure(report, bench)``.
        seconds: after which its processes are killed.
    """

    name: str
    seconds: float


BLOCKS = (
    Block("versions", 30.0),
    Block("steps", 100.0),
    Block("training", 90.0),
    Block("numerics", 60.0),
    Block("inference", 45.0),
    Block("kernels", 60.0),
    Block("depthwise", 90.0),
    Block("decoder", 60.0),
    Block("ranks", 45.0),
    Block("loader", 30.0),
)


def run_blocks(names: Sequence[str], folder: Path, device: str) -> int:
    """Run blocks one after the other and append their rows to ``folder / ROWS``.

    Args:
        names: of the blocks; all in their order if there is none. Named ones share no limit but their own.
        folder: made if need be.
        device: "cuda", or "cpu" to rehearse every block at a small size.

    Returns:
        The exit status: 1 where a block failed or a row is not as it should be.

    Raises:
        UserError: if there is no such block.
    """
    known = {block.name: block for block in BLOCKS}
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise UserError(f"there is no block {', '.join(unknown)}: choose among {', '.join(known)}")
    folder.mkdir(parents=True, exist_ok=True)
    slack = 1.0 if device == "cuda" else _REHEARSAL_SLACK
    end = time.monotonic() + TOTAL_SECONDS * slack if not names else float("inf")
    chosen = [known[name] for name in names] or list(BLOCKS)
    for block in chosen:
        _run(block, folder, device, min(block.seconds * slack, end - time.monotonic()))
    rows = list(read_rows(folder / ROWS))
    return int(any(row["block"] in known and row.get("ok") is False for row in rows))


def read_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a file that ``run_blocks`` wrote; a last line that was cut short is left out."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def write_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row and print it."""
    line = json.dumps(row)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    shown = " ".join(f"{key}={value}" for key, value in row.items() if key not in ("block", "case"))
    sys.stdout.write(f"{row['block']}: {row['case']}: {shown}\n")
    sys.stdout.flush()


def _run(block: Block, folder: Path, device: str, limit: float) -> None:
    started = time.monotonic()
    if limit < 5.0:
        write_row(folder / ROWS, {"block": block.name, "case": "block", "ok": False, "why": "no time was left"})
        return
    command = [sys.executable, "-u", "-m", "benchmarks.gpu.block", block.name, "--out", str(folder), "--device", device]
    child = subprocess.Popen(command, cwd=_ROOT, start_new_session=True)
    why = None
    try:
        status = child.wait(limit)
        if status:
            why = f"ended with status {status}; its trace is above"
    except subprocess.TimeoutExpired:
        why = f"stopped after {limit:.0f} s"
    finally:
        _kill_group(child)
    facts = {"ok": why is None, "seconds": round(time.monotonic() - started, 1)} | ({"why": why} if why else {})
    write_row(folder / ROWS, {"block": block.name, "case": "block", **facts})


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
