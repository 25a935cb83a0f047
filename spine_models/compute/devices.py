"""On what a job computes, and how many threads its arithmetic has."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from spine_models.compute.leases import DEVICES_OVERRIDE, VISIBLE, lease_devices, visible_devices
from spine_models.compute.nvml import read_driver
from spine_models.compute.served import architectures_of_torch, require_served, require_working
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
        if self.kind == "cuda":
            # TF32 is a precision of its own.
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


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
    # As nvidia-smi numbers them; CUDA by itself puts the fastest first.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    kind = _kind(device, gpus)
    if kind == "cuda":
        # The descriptors stay open on purpose: the lease lasts as long as the process.
        leased = lease_devices(gpus).devices
        driver = read_driver()
        if driver is not None:
            used = [gpu for index, gpu in enumerate(driver.gpus) if {str(index), gpu.uuid} & {*leased}]
            require_served(driver, used, torch.version.cuda, architectures_of_torch())
        os.environ[VISIBLE] = ",".join(leased)
    compute = Compute(kind, gpus if kind == "cuda" else 1, math_threads)
    compute.apply()
    if compute.kind == "cuda" and compute.processes == 1:
        require_working(compute.device)
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
    why = _why_no_gpu()
    if why is None:
        return "cuda"
    if device == "auto":
        say(f"computing on the CPU: {why}")
        return "cpu"
    raise UserError(f"device is cuda but {why}: make a GPU visible to this job, or set device: auto or cpu")


def _why_no_gpu() -> str | None:
    """Return why this job sees no GPU, None where it sees one."""
    if os.environ.get(DEVICES_OVERRIDE) is None and read_driver() is None:
        return "no NVIDIA driver is installed or loaded"
    if visible_devices(os.environ):
        return None
    if os.environ.get(VISIBLE) is None:
        return "NVIDIA's driver finds no GPU"
    return f"{VISIBLE} hides every GPU"
