"""One of two processes that share a batch: run by test_batch_norm.py as ``synchronised_step.py RANK FOLDER``."""

import sys
from pathlib import Path

import torch
from torch import distributed, nn

from spine_models.models.batch_norm import synchronise


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4, eps=1e-3), nn.ReLU(), nn.Conv3d(4, 2, 1))


def a_batch() -> torch.Tensor:
    return torch.randn(4, 3, 5, 6, 7, generator=torch.Generator().manual_seed(1)) * 3 + 1


def a_step(network: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return gradients (of the sum over images, so that they add up over processes) and buffers."""
    output = network(images)
    (output**3).sum().backward()
    gradients = {f"gradient of {name}": p.grad for name, p in network.named_parameters()}
    return {"output": output.detach(), **gradients, **dict(network.named_buffers())}


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    result = a_step(synchronise(a_network()), a_batch()[:3] if rank == 0 else a_batch()[3:])
    torch.save(result, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
