"""On what a job computes, and how many threads its arithmetic has."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from spine_models.compute.leases import DEVICES_OVERRIDE, VISIBLE, driver_devices, lease_devices
from spine_models.errors import UserError
from spine_models.log import say

_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Variables in which a user may have chosen the settings of PyTorch's allocator."""


@dataclass(frozen=True)
class Compute:
    """What ``use_device`` chose.

    Attributes:
        kind: "cuda" or "cpu".
        processes: processes that one job computes with: one for each GPU, one on the CPU (tests take two).
        math_threads: threads inside torch; part of the recipe on the CPU, since another number gives other bits.
    """

    kind: str
    processes: int
    math_threads: int

    @property
    def device(self) -> torch.device:
        """The device of a job with one process; ``CUDA_VISIBLE_DEVICES`` names the GPU behind it."""
        return torch.device("cuda", 0) if self.kind == "cuda" else torch.device("cpu")

    def apply(self) -> None:
        """Set threads, and what the device asks of torch; every process of a job calls it once."""
        torch.set_num_threads(self.math_threads)
        torch.use_deterministic_algorithms(self.kind == "cpu")
        if self.kind == "cuda" and not any(os.environ.get(name) for name in _ALLOCATOR):
            # Studies differ in size, and whole blocks would be lost between them. Variables come too late: torch is
            # there.
            torch._C._accelerator_setAllocatorSettings("expandable_segments:True")


def use_device(device: str, gpus: int, math_threads: int) -> Compute:
    """Choose the device of this job, take the leases of its GPUs and set the threads of torch.

    ``CUDA_VISIBLE_DEVICES`` of this process becomes the leased devices; call it before anything touches CUDA. The
    leases last until the process ends.

    Args:
        device: "auto": GPUs where a driver is installed, otherwise the CPU; "cuda"; "cpu".
        gpus: GPUs that the workflow gave to this job; 0 computes on the CPU.
        math_threads: threads inside torch.

    Raises:
        UserError: if GPUs are asked for that are not there, or their driver or this torch cannot use them.
    """
    kind = _kind(device, gpus)
    if kind == "cuda":
        # The descriptors stay open on purpose: the lease lasts as long as the process.
        os.environ[VISIBLE] = ",".join(lease_devices(gpus).devices)
    compute = Compute(kind, gpus if kind == "cuda" else 1, math_threads)
    compute.apply()
    return compute


def _kind(device: str, gpus: int) -> str:
    if device == "cpu":
        return "cpu"
    if gpus == 0:
        if device == "cuda":
            raise UserError(
                "device is cuda but this job was given 0 GPUs: set gpus of its stage and give Snakemake "
                "`--resources gpu=N`, or set device: auto or cpu"
            )
        say("computing on the CPU: this job was given 0 GPUs")
        return "cpu"
    if not _has_driver():
        if device == "auto":
            say("computing on the CPU: no NVIDIA driver is installed")
            return "cpu"
        raise UserError("device is cuda but no NVIDIA driver is installed: install one, or set device: auto or cpu")
    if torch.version.cuda is None:
        raise UserError(
            f"this torch ({torch.__version__}) is built for the CPU alone: install the CUDA build of the same version, "
            "or set device: cpu"
        )
    return "cuda"


def _has_driver() -> bool:
    return os.environ.get(DEVICES_OVERRIDE) is not None or driver_devices() is not None
