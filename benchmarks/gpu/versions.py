"""Versions, the card, cuDNN, NVML and the lease of a device, the two ceilings of the card."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.gpu.bench import Bench
from spine_models.compute.devices import use_device
from spine_models.compute.leases import VISIBLE, driver_gpus

PACKAGES = ("torch", "triton", "numpy", "pytorch-lightning", "mmaction2", "mmcv-lite", "mmengine", "albumentations")


def measure(bench: Bench) -> None:
    bench.row("python", version=platform.python_version(), cores=len(os.sched_getaffinity(0)))
    bench.row("packages", **{name: _version(name) for name in PACKAGES})
    with bench.case("lease") as facts:
        facts["nvml"] = [f"{gpu.name} {gpu.capability} {gpu.free_bytes / 2**30:.1f} GiB free" for gpu in driver_gpus()]
        compute = use_device(bench.kind, int(bench.real), 4)
        facts |= {"ok": compute.kind == bench.kind, "visible": os.environ.get(VISIBLE), "kind": compute.kind}
    if not bench.real:
        return
    properties = torch.cuda.get_device_properties(0)
    bench.row(
        "card",
        name=properties.name,
        capability=f"{properties.major}.{properties.minor}",
        memory_gib=properties.total_memory / 2**30,
        multiprocessors=properties.multi_processor_count,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        arch_list=" ".join(torch.cuda.get_arch_list()),
        bf16=torch.cuda.is_bf16_supported(including_emulation=False),
    )
    with bench.case("allocator") as facts:
        held = torch.empty(2**26, device=bench.device)
        facts["expandable"] = any(segment.get("is_expandable") for segment in torch.cuda.memory_snapshot())
        facts["ok"] = facts["expandable"]
        del held
    with bench.case("ceilings") as facts:
        source = torch.randn(2**28, device=bench.device)
        target = torch.empty_like(source)
        facts["copy_tb_per_s"] = 2 * source.nbytes / bench.seconds(lambda: target.copy_(source)) / 1e12
        square = torch.randn(8192, 8192, device=bench.device, dtype=torch.bfloat16)
        facts["bf16_tflops"] = 2 * 8192**3 / bench.seconds(lambda: square @ square) / 1e12


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
