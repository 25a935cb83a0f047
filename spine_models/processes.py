"""Child processes that neither outlive their parent nor take it along."""

from __future__ import annotations

import ctypes
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from spine_models.bus_errors import tell_bus_errors
from spine_models.errors import StudyFailedError

P = ParamSpec("P")
T = TypeVar("T")

_PR_SET_PDEATHSIG = 1


def begin_child(_worker: int = 0) -> None:
    """Prepare a process that works for its parent, at its start.

    Linux kills it when its parent dies, so that nothing goes on writing or holding a lease, and a file that is cut off
    while it reads it is named.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    tell_bus_errors()


def begin_pool_worker() -> None:
    """Prepare a process of a pool: as ``begin_child``, and Ctrl-C is left to the parent, which says once what happened.

    A terminal sends Ctrl-C to all of its processes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begin_child()


class ChildProcess:
    """A process that reads studies one after the other: what kills it (a decoder, lack of memory) kills nothing else.

    It starts with the first call, and anew after its death. Nothing of the parent's memory is in it.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def call(self, function: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Return what ``function`` returns in the child; what it raises is raised here.

        Raises:
            StudyFailedError: if the process died.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin_pool_worker)
        try:
            return self._pool.submit(function, *args, **more).result()
        except BrokenProcessPool:
            self._pool = None
            raise StudyFailedError(
                "the process that read the study died (a decoder crashed, or memory ran out): run again with more "
                "memory, or look for a damaged file"
            ) from None


def trace_of(error: BaseException) -> str:
    """Return where an error came from, for a log: types and lines of code, without messages, which may hold a path."""
    cause = error.__cause__
    lines = [line for line in str(cause or "").splitlines() if line.strip().startswith("File ")]
    frames = [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return "\n".join([f"{type(error).__name__} at", *frames, *lines])
