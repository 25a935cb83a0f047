"""Half precision ends before anything is exponentiated or summed."""

from __future__ import annotations

import torch


def single_precision(values: torch.Tensor) -> torch.Tensor:
    """Return half-precision values as float32 and wider ones as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
