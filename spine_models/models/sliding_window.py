"""Windows along z over a whole volume, and their predictions put together again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

Predict = Callable[[torch.Tensor], torch.Tensor]


class Window(NamedTuple):
    """One window of a plan, in slices of the padded volume; both ranges are half-open.

    Attributes:
        start: first slice that the network sees.
        stop: slice behind the last one that it sees.
        keep_start: first slice whose prediction is taken from this window.
        keep_stop: slice behind the last such slice.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def plan_windows(slices: int, window: int, overlap: int) -> list[Window]:
    """Cover ``slices`` by windows that overlap by at least ``overlap``.

    Windows start ``window - overlap`` slices apart; the last is moved back to end with the volume. At a seam the
    later window takes over after half of the overlap that the two really have (rounded down). A volume no longer
    than the window is one window of its own length.

    Raises:
        ValueError: if ``slices`` or ``window`` is not positive or ``overlap`` not in [0, window).
    """
    if slices < 1 or window < 1 or not 0 <= overlap < window:
        raise ValueError(f"no windows of {window} slices with overlap {overlap} over {slices} slices")
    length = min(window, slices)
    starts = [*range(0, slices - length, window - overlap), slices - length]
    seams = [later + (earlier + length - later) // 2 for earlier, later in itertools.pairwise(starts)]
    bounds = [0, *seams, slices]
    return [Window(start, start + length, bounds[i], bounds[i + 1]) for i, start in enumerate(starts)]


def sliding_window(
    volume: torch.Tensor,
    predict: Predict,
    *,
    window: int,
    overlap: int,
    z_multiple: int,
    fill: float,
    batch: int = 1,
) -> torch.Tensor:
    """Predict a whole volume by windows along z that hold the whole plane (method, segmentation: inference).

    Args:
        volume: (Z, Y, X), standardised.
        predict: maps (N, 1, z, Y, X) to (N, C, z, Y, X), logits or probabilities.
        window: slices of a window.
        overlap: slices that neighbouring windows share at least.
        z_multiple: the volume is padded behind its last slice to a multiple of this.
        fill: value of the padding: air, standardised like the volume.
        batch: windows that ``predict`` gets at once.

    Returns:
        (C, Z, Y, X), of the type and on the device of the predictions, without the padding.

    Raises:
        ValueError: see ``plan_windows``.
    """
    depth = volume.shape[0]
    padded = functional.pad(volume, (0, 0, 0, 0, 0, -depth % z_multiple), value=fill)
    windows = plan_windows(padded.shape[0], window, overlap)
    result: torch.Tensor | None = None
    for first in range(0, len(windows), batch):
        group = windows[first : first + batch]
        predictions = predict(torch.stack([padded[None, part.start : part.stop] for part in group]))
        if result is None:
            result = predictions.new_empty(predictions.shape[1], *volume.shape)
        for part, prediction in zip(group, predictions, strict=True):
            kept = result[:, part.keep_start : part.keep_stop]
            kept.copy_(prediction[:, part.keep_start - part.start :][:, : kept.shape[1]])
    assert result is not None
    return result
