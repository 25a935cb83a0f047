"""What a job computed on, for its ``*.run.json``."""

from __future__ import annotations

import os
from typing import Any

import torch

from spine_models.compute.leases import VISIBLE, scheduler_job
from spine_models.compute.nvml import read_driver
from spine_models.compute.precision import Precision

_SLOW_CUDNN = (90800, 91500)
"""cuDNN 9.8 to 9.14: half-precision 3D convolutions fall off its fast kernels (PyTorch issues 166643 and 163539)."""


def run_facts(kind: str, precision: Precision) -> dict[str, Any]:
    """Return device, precision and versions, which the figures of a run may depend on and its key does not hold."""
    facts = {
        "device": kind,
        "precision": precision,
        "visible_devices": os.environ.get(VISIBLE),
        "scheduler_job": scheduler_job(os.environ),
        "torch": torch.__version__,
    }
    if kind != "cuda":
        return facts
    driver = read_driver()
    cudnn = cudnn_version()
    return {
        **facts,
        "gpu": torch.cuda.get_device_name(0),
        "driver": None if driver is None else driver.version,
        "cuda": torch.version.cuda,
        "cudnn": cudnn,
        "tf32": precision == "tf32",
        "warning": slow_cudnn(cudnn, precision),
    }


def cudnn_version() -> int | None:
    """Return the version of cuDNN, 91900 for 9.19.0; None where there is none."""
    version: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return version


def slow_cudnn(version: int | None, precision: Precision) -> str | None:
    """Return a sentence where this version of cuDNN is slow in this precision, otherwise None."""
    if version is None or precision not in ("bf16", "fp16") or not _SLOW_CUDNN[0] <= version < _SLOW_CUDNN[1]:
        return None
    named = f"{version // 10000}.{version % 10000 // 100}"
    return (
        f"cuDNN {named} computes 3D convolutions in {precision} slowly: install 9.15 or later "
        "(pip install --no-deps 'nvidia-cudnn-cu13>=9.15')"
    )
