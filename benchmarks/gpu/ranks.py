"""Two ranks on one device over gloo, and one over NCCL: the gradients of one process with the same samples."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.gpu.bench import Bench, error
from spine_models.models.batch_norm import synchronise
from spine_models.models.losses import LossSettings, segmentation_loss
from spine_models.models.unet import CsnUNet, UNetSettings

_PLANE = 64
_SECONDS = {"cuda": 40.0, "cpu": 300.0}


def measure(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _ranks(bench, "gloo", 2, Path(folder) / "gloo")
        if bench.real:
            _ranks(bench, "nccl", 1, Path(folder) / "nccl")


def _ranks(bench: Bench, backend: str, processes: int, store: Path) -> None:
    with bench.case(f"{processes} ranks over {backend}") as facts:
        image, target = _samples()
        reference = _gradient(_network().to(bench.device), image.to(bench.device), target.to(bench.device))
        context = multiprocessing.get_context("spawn")
        ranks = [
            context.Process(target=_rank, args=(bench.kind, backend, rank, processes, store), daemon=True)
            for rank in range(processes)
        ]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(_SECONDS[bench.kind])
        failed = [rank.exitcode for rank in ranks if rank.exitcode != 0]
        if failed:
            facts.update(ok=False, why=f"ranks ended with {failed}")
            return
        found = torch.load(store.with_suffix(".pt"), weights_only=True)
        difference = error(found.pop("gradient"), reference)
        facts.update(found, gradient=difference, ok=difference < 1e-3)


def _rank(kind: str, backend: str, rank: int, processes: int, store: Path) -> None:
    os.environ["LOCAL_RANK"] = "0"
    if kind == "cuda":
        torch.cuda.set_device(0)
        torch.backends.cudnn.allow_tf32 = False
    distributed.init_process_group(
        backend, f"file://{store}", world_size=processes, rank=rank, timeout=timedelta(seconds=_SECONDS[kind])
    )
    device = torch.device(kind, 0) if kind == "cuda" else torch.device("cpu")
    network: nn.Module = _network().to(device)
    synchronise(network)
    wrapped = DistributedDataParallel(network, device_ids=[0] if kind == "cuda" else None)
    image, target = _samples()
    share = len(image) // processes
    own = slice(rank * share, (rank + 1) * share)
    seconds, waits = 0.0, 0
    for _ in range(3):
        network.zero_grad()
        started = time.perf_counter()
        gradient = _gradient(wrapped, image[own].to(device), target[own].to(device))
        seconds = time.perf_counter() - started
    if kind == "cuda":
        waits = _host_syncs(wrapped, image[own].to(device), target[own].to(device))
    if rank == 0:
        torch.save({"gradient": gradient, "step_s": seconds, "host_syncs": waits}, store.with_suffix(".pt"))
    distributed.barrier()
    distributed.destroy_process_group()


def _host_syncs(network: nn.Module, image: torch.Tensor, target: torch.Tensor) -> int:
    """Count how often a step waits for the device."""
    import warnings

    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss = segmentation_loss(network(image), target, LossSettings()).total
        loss.backward()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchron" in str(warning.message) for warning in caught)


def _network() -> CsnUNet:
    torch.manual_seed(0)
    return CsnUNet(UNetSettings(base_channels=16, decoder_channels=(32, 24, 16, 12, 8)))


def _samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 1, 8, _PLANE, _PLANE, generator=generator)
    target = torch.randint(0, 8, (2, 8, _PLANE, _PLANE), generator=generator, dtype=torch.uint8)
    return image, target


def _gradient(network: nn.Module, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the decoder and the head as one vector; float32 throughout.

    Batch norm over few voxels makes that of the encoder a matter of rounding.
    """
    torch.backends.cudnn.allow_tf32 = False
    segmentation_loss(network(image), target, LossSettings()).total.backward()
    parts = [
        p.grad.flatten() for name, p in network.named_parameters() if p.grad is not None and "backbone" not in name
    ]
    return torch.cat(parts).double().cpu()
