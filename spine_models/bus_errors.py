"""Which file was cut off, in the place of a death without a word.

Arrays are memory maps. Where the file behind one becomes shorter while it is read, or the disk does not give a page of
it, Linux ends the process by SIGBUS; Python has no chance to raise an exception. The handler here looks up the address
among the process's mappings, says which file it belongs to and ends the process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from spine_models.log import visible

_SHARED_MEMORY = "/dev/shm/"
_SA_SIGINFO = 0x4


class _Action(ctypes.Structure):
    """``struct sigaction`` of the C library of Linux, whatever the processor (x86-64, arm64)."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class _Info(ctypes.Structure):
    """The beginning of ``siginfo_t`` on Linux with 64 bits, as far as the address that could not be read."""

    _fields_ = (("numbers", ctypes.c_int * 4), ("address", ctypes.c_void_p))


def tell_bus_errors() -> None:
    """Let a SIGBUS of this process end in one sentence and status 1; elsewhere than on 64-bit Linux, change nothing."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8:
        return
    action = _Action(ctypes.cast(_handler(), ctypes.c_void_p), flags=_SA_SIGINFO)
    ctypes.CDLL(None).sigaction(int(signal.SIGBUS), ctypes.byref(action), None)


def sentence_on(file: str) -> str:
    """Return what to tell a person of a mapped file whose pages are not there.

    Args:
        file: its path, empty where the address belongs to none.
    """
    if file.startswith(_SHARED_MEMORY):
        return (
            "/dev/shm is full: give the container more of it (docker run --shm-size) or lower the stage's `workers`, "
            "then run the same command again"
        )
    return (
        f"{file.removesuffix(' (deleted)') or 'a file'} was cut off or replaced while it was read, or its disk failed: "
        "run the same command again when nothing else writes there; it says how to repair what is damaged"
    )


@cache
def _handler() -> Any:
    """Return the handler; the cache keeps it, as long as the process may call it."""
    first = threading.Lock()

    def end(_number: int, info: Any, _context: int | None) -> None:
        # Several threads may read the same file: one of them tells, the others wait for the end.
        first.acquire()
        file = _file_at(info.contents.address or 0)
        os.write(2, f"{visible(f'error: {sentence_on(file)}')}\n".encode(errors="replace"))
        # Not sys.exit: the instruction that failed would run again.
        os._exit(1)

    return ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.POINTER(_Info), ctypes.c_void_p)(end)


def _file_at(address: int) -> str:
    """Return the file behind an address of this process, empty if there is none."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        area, *_, file = line.split(maxsplit=5) if line.count(" ") >= 5 else (line, "")
        first, _, last = area.partition("-")
        if int(first, 16) <= address < int(last.split()[0], 16):
            return file.strip() if file.strip().startswith("/") else ""
    return ""
