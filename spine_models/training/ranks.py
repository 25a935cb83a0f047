"""The processes of one job: started together, ended together."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from spine_models.compute.devices import Compute
from spine_models.compute.leases import VISIBLE
from spine_models.compute.served import require_working
from spine_models.errors import UserError
from spine_models.processes import begin_child

_HOST = "127.0.0.1"
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Place:
    """Which of the job's processes this is.

    Attributes:
        rank: 0 to ``processes - 1``; only rank 0 writes.
        compute: what the job computes on.
    """

    rank: int
    compute: Compute


def run_ranks(function: Callable[..., None], compute: Compute, *arguments: Any) -> None:
    """Call ``function(place, *arguments)`` in every process of the job: here if there is one, else in new processes.

    Rendezvous is a store that this process holds on a port of the kernel's choice, so that two jobs on one machine
    never collide, and variables of a scheduler play no part in it. When one process fails the others are killed, and
    its error is raised here. The processes die with this one.

    Args:
        function: importable by name.
        compute: how many processes, and on what.
        arguments: values that can be pickled.

    Raises:
        UserError: the one that a process raised.
        UserError: likewise, of a process that died without a word.
        RuntimeError: with the trace of a process that failed otherwise.
    """
    if compute.processes == 1:
        function(Place(0, compute), *arguments)
        return
    store = TCPStore(_HOST, 0, None, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)
    with tempfile.TemporaryDirectory(prefix="spine_models-ranks-") as folder:
        context = multiprocessing.get_context("spawn")
        ranks: list[BaseProcess] = []
        try:
            for rank in range(compute.processes):
                where = (Path(folder), store.port, os.getpid())
                process: BaseProcess = context.Process(
                    target=_enter, args=(function, Place(rank, compute), where, arguments)
                )
                process.start()
                ranks.append(process)
            _wait(ranks, Path(folder))
        finally:
            for process in ranks:
                process.kill()
                process.join()


def _enter(
    function: Callable[..., None], place: Place, where: tuple[Path, int, int], arguments: tuple[Any, ...]
) -> None:
    folder, port, parent = where
    begin_child()
    if os.getppid() != parent:
        os._exit(1)
    os.environ |= {
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(place.compute.processes),
        "NODE_RANK": "0",
        "LOCAL_RANK": str(place.rank),
        # The store is the parent's: rank 0 must not open another on the same port.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    if place.compute.kind == "cpu":
        # mmengine looks for the device of the local rank wherever it sees one.
        os.environ[VISIBLE] = ""
    try:
        place.compute.apply()
        if place.compute.kind == "cuda":
            require_working(torch.device("cuda", place.rank))
        function(place, *arguments)
    except BaseException as error:
        user = isinstance(error, UserError)
        text = str(error) if user else traceback.format_exc()
        (folder / f"{place.rank}.json").write_text(json.dumps({"user": user, "text": text}), encoding="utf-8")
        # At once: the end of the process group may wait for processes that wait for this one.
        os._exit(1)


def _wait(ranks: list[BaseProcess], folder: Path) -> None:
    running = dict(enumerate(ranks))
    while running:
        wait([process.sentinel for process in running.values()])
        ended = {rank: process for rank, process in running.items() if process.exitcode is not None}
        failed = [rank for rank, process in ended.items() if process.exitcode]
        if failed:
            _raise(min(failed, key=lambda rank: _when(folder, rank)), ranks, folder)
        running = {rank: process for rank, process in running.items() if rank not in ended}


def _when(folder: Path, rank: int) -> float:
    """Return when a rank failed; one that was killed left no message, and the others fail because of it."""
    path = folder / f"{rank}.json"
    return path.stat().st_mtime if path.exists() else 0.0


def _raise(rank: int, ranks: list[BaseProcess], folder: Path) -> None:
    path = folder / f"{rank}.json"
    if not path.exists():
        raise UserError(_death(rank, ranks[rank].exitcode))
    message = json.loads(path.read_text(encoding="utf-8"))
    if message["user"]:
        raise UserError(message["text"])
    raise RuntimeError(f"process {rank} of the training failed:\n{message['text']}")


def _death(rank: int, status: int | None) -> str:
    """Return what to tell a person of a process that left no message."""
    how = f"was killed by {signal.Signals(-status).name}" if status is not None and status < 0 else "died"
    return (
        f"process {rank} of the training {how}, most likely because memory ran out or a file that it read was cut off "
        "(a line above says so): give the job more memory (mem_mb of the rule), then run the same command again, which "
        "goes on from the last checkpoint"
    )
