"""Whether this build of torch can compute on a GPU, said before a job starts where it cannot."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import torch

from spine_models.compute.nvml import Driver, Gpu
from spine_models.errors import UserError

_CHOICE = "README.md and docs/performance.md say which build is for which card"


def require_served(driver: Driver, gpus: Iterable[Gpu], cuda: str | None, architectures: Iterable[str]) -> None:
    """Refuse what cannot work: a driver of an earlier CUDA than torch's, or a GPU that no code of torch's is for.

    A driver serves every minor version of its CUDA, and later ones with NVIDIA's compatibility package. A GPU runs
    code for its own major version and a minor one up to its own, and PTX (``compute_``) for any version up to it.

    Args:
        driver: what is installed.
        gpus: those that the job is to use.
        cuda: version of CUDA that torch is built for; None where it is built for the CPU.
        architectures: what torch holds code for, such as "sm_90" and "compute_120".

    Raises:
        UserError: if torch is built only for the CPU, or cannot use the driver or a GPU.
    """
    if cuda is None:
        raise UserError(
            f"this torch ({torch.__version__}) is built only for the CPU: install the CUDA build of the same version, "
            "or set device: cpu"
        )
    if driver.cuda[0] < int(cuda.split(".", 1)[0]) and not _has_compatibility_package():
        raise UserError(
            f"NVIDIA's driver {driver.version} serves CUDA {driver.cuda[0]}.{driver.cuda[1]} and this torch needs "
            f"{cuda}: update the driver, install a torch for CUDA {driver.cuda[0]} ({_CHOICE}), or set device: cpu"
        )
    known = list(architectures)
    for gpu in gpus:
        if known and not any(_runs(gpu.capability, architecture) for architecture in known):
            raise UserError(
                f"this torch has no code for a {gpu.name} (compute capability {gpu.capability[0]}.{gpu.capability[1]}; "
                f"it has {', '.join(known)}): install a torch that has ({_CHOICE}), or set device: cpu"
            )


def architectures_of_torch() -> list[str]:
    """Return what this torch holds code for; empty for a build without CUDA."""
    flags = getattr(torch._C, "_cuda_getArchFlags", None)
    return [] if flags is None else (flags() or "").split()


def require_working(device: torch.device) -> None:
    """Compute one sum on ``device``.

    Raises:
        UserError: if that fails.
    """
    try:
        working = float(torch.ones(2, device=device).sum()) == 2.0
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"a sum of two numbers on the GPU fails ({reason}): run nvidia-smi to see its state; {_CHOICE}; or set "
            "device: cpu"
        ) from None
    if not working:
        raise UserError("a sum of two numbers on the GPU is wrong: the GPU is defective; use another, or device: cpu")


def _runs(capability: tuple[int, int], architecture: str) -> bool:
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", architecture)
    if match is None:
        return False
    version = int(match[2]), int(match[3])
    if match[1] == "compute":
        return version <= capability
    return version[0] == capability[0] and version <= capability


def _has_compatibility_package() -> bool:
    listed = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    folders = [*Path("/usr/local").glob("cuda*/compat"), *(Path(entry) for entry in listed if "compat" in entry)]
    return any(next(folder.glob("libcuda.so*"), None) for folder in folders)
