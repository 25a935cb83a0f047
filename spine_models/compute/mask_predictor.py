"""Half-size volumes in, masks out: the one way for validation, held-out and new studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spine_models.compute.flips import NO_FLIP, Flip, mean_over_flips
from spine_models.compute.inference_network import InferenceNetwork, finite_or_again, require_finite
from spine_models.compute.network_input import standardised
from spine_models.compute.precision import Precision
from spine_models.hounsfield import AIR_HU
from spine_models.models.sliding_window import sliding_window


@dataclass(frozen=True)
class SlidingWindowSettings:
    """How a volume is predicted in windows along z that hold the whole plane; ``segmentation.inference``.

    Attributes:
        window: slices of a window.
        overlap: slices that neighbouring windows share.
        z_multiple: the volume is padded to a multiple of this.
        batch: windows at once.
        z_fill: of the padding, "air" or "mean", which is 0 once standardised.
        flips: of each window; their probabilities are averaged.
    """

    window: int
    overlap: int
    z_multiple: int
    batch: int
    z_fill: Literal["air", "mean"] = "air"
    flips: tuple[Flip, ...] = NO_FLIP


class MaskPredictor:
    """Segmentation networks whose probabilities are averaged.

    Attributes:
        repeated: studies so far that half precision overflowed in, so that they were computed again in float32.
    """

    def __init__(self, networks: Sequence[InferenceNetwork], windows: SlidingWindowSettings) -> None:
        """Take at least one network, all on one device."""
        self._networks, self._windows = list(networks), windows
        self.repeated = 0

    def mask(self, half: NDArray[np.int16], mean: float, std: float) -> NDArray[np.uint8]:
        """Predict the level of every voxel: the class with the largest mean probability over networks and flips.

        Args:
            half: (z, y, x) HU on the half grid.
            mean: of the half volume, in HU.
            std: of the half volume, in HU, above 0.

        Returns:
            (z, y, x), 0 for background and ``i + 1`` for ``LEVELS[i]``; not yet checked for plausibility.

        Raises:
            NonFiniteOutputError: if the output of a network is not finite, in float32 either.
        """
        mask, again = finite_or_again(self._networks[0].precision, partial(self._mask, half, mean, std))
        self.repeated += again
        return mask

    @torch.inference_mode()
    def _mask(self, half: NDArray[np.int16], mean: float, std: float, precision: Precision) -> NDArray[np.uint8]:
        device = self._networks[0].device
        finite = torch.ones((), dtype=torch.bool, device=device)
        mean_probabilities = partial(self._mean_probabilities, finite, precision)
        # A copy, since torch takes no array that cannot be written, such as a memory map.
        volume = torch.from_numpy(np.array(half))[None].to(device)
        facts = (torch.tensor([fact], dtype=torch.float32, device=device) for fact in (mean, std))
        # The level of each voxel is chosen window by window: probabilities of 1,600 slices would take 3.4 GB.
        levels = sliding_window(
            standardised(volume, *facts)[0],
            lambda windows: _largest(mean_over_flips(windows, self._windows.flips, mean_probabilities, spatial=True)),
            window=self._windows.window,
            overlap=self._windows.overlap,
            z_multiple=self._windows.z_multiple,
            fill=(AIR_HU - mean) / std if self._windows.z_fill == "air" else 0.0,
            batch=self._windows.batch,
        )
        # Once for a volume: each look waits for the device.
        require_finite(finite, precision)
        return np.asarray(levels[0].cpu().numpy())

    def _mean_probabilities(self, finite: torch.Tensor, precision: Precision, windows: torch.Tensor) -> torch.Tensor:
        """Return the mean over the networks, one after the other; ``finite`` becomes false where an output is not."""
        total = _probabilities(self._networks[0], finite, precision, windows)
        for network in self._networks[1:]:
            total += _probabilities(network, finite, precision, windows)
        return total.div_(len(self._networks))


def _largest(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the class of the largest probability, (N, 1, z, Y, X) uint8, of (N, C, z, Y, X)."""
    return probabilities.argmax(dim=1, keepdim=True).to(torch.uint8)


def _probabilities(
    network: InferenceNetwork, finite: torch.Tensor, precision: Precision, windows: torch.Tensor
) -> torch.Tensor:
    logits = network.logits(windows, precision)
    finite.logical_and_(torch.isfinite(logits).all())
    return torch.softmax(logits, dim=1)
