"""What NVIDIA's driver says of itself and of the GPUs of this machine.

NVML is asked and not CUDA, since CUDA would fix the visible devices for the life of the process and take memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spine_models.errors import UserError

NOT_LOADED = 9
"""NVML's status where the library is installed and the kernel has no driver: a machine without a GPU, mostly."""
_TEXT_BYTES = 96


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: of the product.
        uuid: as ``CUDA_VISIBLE_DEVICES`` takes it.
        capability: compute capability, major and minor.
        memory_bytes: all of its memory.
        free_bytes: what nobody uses now.
    """

    name: str
    uuid: str
    capability: tuple[int, int]
    memory_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Driver:
    """The driver and its GPUs.

    Attributes:
        version: of the driver.
        cuda: newest version of CUDA that it serves, major and minor.
        gpus: in the order of the PCI bus.
    """

    version: str
    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def read_driver() -> Driver | None:
    """Ask the driver; None where none is installed or loaded.

    Raises:
        UserError: if a driver is installed and fails.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    with _started(library) as loaded:
        return _read(library) if loaded else None


@contextmanager
def _started(library: Any) -> Iterator[bool]:
    status = int(library.nvmlInit_v2())
    if status == NOT_LOADED:
        yield False
        return
    _require(status)
    try:
        yield True
    finally:
        library.nvmlShutdown()


def _read(library: Any) -> Driver:
    count, cuda = ctypes.c_uint(0), ctypes.c_int(0)
    _require(library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    _require(library.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda)))
    version = _text(library.nvmlSystemGetDriverVersion)
    gpus = tuple(_gpu(library, index) for index in range(count.value))
    return Driver(version, (cuda.value // 1000, cuda.value % 1000 // 10), gpus)


def _gpu(library: Any, index: int) -> Gpu:
    handle, memory, major, minor = ctypes.c_void_p(), _Memory(), ctypes.c_int(0), ctypes.c_int(0)
    _require(library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)))
    _require(library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)))
    _require(library.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor)))
    name, uuid = (_text(ask, handle) for ask in (library.nvmlDeviceGetName, library.nvmlDeviceGetUUID))
    return Gpu(name, uuid, (major.value, minor.value), int(memory.total), int(memory.free))


def _text(ask: Callable[..., int], *before: Any) -> str:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    _require(ask(*before, text, _TEXT_BYTES))
    return text.value.decode(errors="replace")


def _require(status: int) -> None:
    if status:
        raise UserError(
            f"NVIDIA's driver is installed but fails (NVML status {status}): run nvidia-smi to see why, "
            "or set device: cpu to compute without a GPU"
        )
