"""What the processes of ``test_ranks`` and ``test_processes`` do; apart from them, so that they can be imported."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from spine_models.compute.devices import Compute
from spine_models.errors import UserError
from spine_models.training.fit import FitSettings, Task, fit
from spine_models.training.ranks import Place, run_ranks

TWO = Compute("cpu", 2, 1)


def join(place: Place) -> None:
    distributed.init_process_group("gloo", rank=place.rank, world_size=place.compute.processes)


def tell_devices(place: Place, folder: Path) -> None:
    (folder / str(place.rank)).write_text(repr(os.environ.get("CUDA_VISIBLE_DEVICES")))


def add(place: Place, folder: Path) -> None:
    join(place)
    total = torch.tensor([place.rank + 1.0])
    distributed.all_reduce(total)
    (folder / f"{place.rank}.txt").write_text(f"{total.item()} {os.getpid()} {torch.get_num_threads()}")


def fail(place: Place, how: str) -> None:
    join(place)
    if place.rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "silent":
            os._exit(1)
        raise UserError("the study 1.2.3 is damaged") if how == "user" else ValueError("a defect of ours")
    # The other one waits for a partner that never comes.
    distributed.all_reduce(torch.zeros(1))


def hang(place: Place, folder: Path) -> None:
    (folder / f"{place.rank}.pid").write_text(str(os.getpid()))
    time.sleep(600)


def hang_in_two(folder: Path) -> None:
    run_ranks(hang, TWO, folder)


def watched_fit(place: Place, task: Task, settings: FitSettings, folder: Path, said: Path) -> None:
    """Train, and leave in ``said`` the paths below ``folder`` that this process opened to write, renamed or removed."""
    changed: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
        if event == "open":
            writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and str(folder) in str(arguments):
            changed.append(f"{event} {arguments}")

    sys.addaudithook(watch)
    fit(place, task, settings, folder)
    (said / f"{place.rank}.txt").write_text("\n".join(changed))


def alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds: float = 240.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
