"""The average of several checkpoints of one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from spine_models.errors import UserError


def average_states(states: Iterable[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Average state dicts; the first is that of the best checkpoint.

    Floating-point tensors, the statistics of batch norm included, are summed in float64, divided once and brought
    back to their own type; integers (batch counts) are the best checkpoint's. States are consumed one by one, so a
    generator that reads files holds one of them in memory.

    Raises:
        UserError: if there is no state, or one differs from the best in its names, shapes or types.
    """
    sums: dict[str, torch.Tensor] = {}
    best: dict[str, torch.Tensor] = {}
    count = 0
    for state in states:
        if count == 0:
            best = dict(state)
            sums = {name: tensor.double() for name, tensor in best.items() if tensor.is_floating_point()}
        else:
            _check_same(best, state, count + 1)
            sums = {name: total + state[name].double() for name, total in sums.items()}
        count += 1
    if count == 0:
        raise UserError("there is no checkpoint to average: train for at least one epoch and keep it")
    return {
        name: (sums[name] / count).to(tensor.dtype) if name in sums else tensor.clone() for name, tensor in best.items()
    }


def _check_same(best: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], number: int) -> None:
    different = sorted(best.keys() ^ state.keys())
    different += [
        name
        for name in sorted(best.keys() & state.keys())
        if best[name].shape != state[name].shape or best[name].dtype != state[name].dtype
    ]
    if different:
        raise UserError(
            f"checkpoint {number} of the average is not of the same network as the best one (it differs in "
            f"{different[0]} and {len(different) - 1} more): average only checkpoints of one training"
        )
