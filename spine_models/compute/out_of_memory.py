"""The sentence for a GPU whose memory ran out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from spine_models.errors import UserError

OTHER_DEVICE = "set device: cpu, or use a GPU with more memory"
"""Advice where no key of the configuration makes a job smaller."""


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn a lack of GPU memory inside the block into a sentence.

    Args:
        advice: what to do, with the key of the configuration that it takes.

    Raises:
        UserError: if the memory runs out.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(f"out of GPU memory: {advice}") from None
