"""A driver's library that answers what a test says."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

GIB = 2**30
A6000 = ("NVIDIA RTX A6000", "GPU-a", (8, 6), 48 * GIB, 47 * GIB)


@dataclass
class FakeNvml:
    """Answers ``status`` to the start, and tells of ``gpus``: name, UUID, capability, bytes of memory and free ones."""

    status: int = 0
    gpus: list[tuple[str, str, tuple[int, int], int, int]] = field(default_factory=lambda: [A6000] * 2)
    cuda: int = 13000

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return lambda *arguments: self._answer(name, *arguments)

    def _answer(self, name: str, *arguments: Any) -> int:
        if name in ("nvmlInit_v2", "nvmlShutdown"):
            return self.status if name == "nvmlInit_v2" else 0
        if name == "nvmlDeviceGetCount_v2":
            arguments[0]._obj.value = len(self.gpus)
        elif name == "nvmlSystemGetCudaDriverVersion_v2":
            arguments[0]._obj.value = self.cuda
        elif name == "nvmlSystemGetDriverVersion":
            arguments[0].value = b"580.1"
        elif name == "nvmlDeviceGetHandleByIndex_v2":
            arguments[1]._obj.value = arguments[0] + 1
        else:
            self._tell(name, self.gpus[arguments[0].value - 1], *arguments[1:])
        return 0

    def _tell(self, name: str, gpu: Any, *answers: Any) -> None:
        if name == "nvmlDeviceGetName":
            answers[0].value = gpu[0].encode()
        elif name == "nvmlDeviceGetUUID":
            answers[0].value = gpu[1].encode()
        elif name == "nvmlDeviceGetCudaComputeCapability":
            answers[0]._obj.value, answers[1]._obj.value = gpu[2]
        else:
            memory = ctypes.cast(answers[0], ctypes.POINTER(ctypes.c_ulonglong * 3))[0]
            memory[:] = gpu[3], gpu[4], gpu[3] - gpu[4]
