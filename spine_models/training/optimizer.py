"""The optimizer and its schedule (method, common)."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def build_optimizer(network: nn.Module, learning_rate: float, weight_decay: float) -> AdamW:
    """Return AdamW whose weight decay reaches matrices and kernels, but neither biases nor norm layers.

    Both kinds are exactly the parameters with one axis. Parameters that are not trained are left out.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=learning_rate)


def cosine_schedule(optimizer: AdamW, steps: int, learning_rate: float, final_learning_rate: float) -> LambdaLR:
    """Anneal from ``learning_rate`` at step 0 to ``final_learning_rate`` at the last of ``steps`` steps.

    The rate is a closed form of the step, ``final + (first - final) * (1 + cos(pi * step / (steps - 1))) / 2``, so
    that a resumed run has the very same rates.
    """

    def factor(step: int) -> float:
        return cosine_rate(step, steps, learning_rate, final_learning_rate) / learning_rate

    return LambdaLR(optimizer, factor)


def cosine_rate(step: int, steps: int, first: float, final: float) -> float:
    """Return the learning rate of ``step``, counted from 0."""
    part = min(step, steps - 1) / max(1, steps - 1)
    return final + (first - final) * (1.0 + math.cos(math.pi * part)) / 2.0
