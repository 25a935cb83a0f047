"""The half-size volume of a study: each slice resized until its longest side is ``half_size``, then padded with air."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spine_models.hounsfield import AIR_HU

Volume = NDArray[np.int16]


@dataclass(frozen=True)
class HalfVolume:
    """A half-size volume and what a network needs to standardise it.

    Attributes:
        voxels: int16 HU (z, half_size, half_size), padded at the bottom and right with ``AIR_HU``.
        inner_shape: (z, y, x) without the padding.
        mean: of the voxels without the padding, HU.
        std: likewise; 0 where there is no contrast.
    """

    voxels: Volume
    inner_shape: tuple[int, int, int]
    mean: float
    std: float


def half_volume(full: Volume, half_size: int) -> HalfVolume:
    """Resize every slice of a volume (z, y, x) in HU; the factor is ``half_size / max(y, x)`` along both axes."""
    factor = half_size / max(full.shape[1:])
    rows, columns = _half_sides(full.shape[1:], factor)
    voxels = np.full((full.shape[0], half_size, half_size), AIR_HU, np.int16)
    inner = voxels[:, :rows, :columns]
    for index, pixels in enumerate(full):
        inner[index] = half_slice(pixels, factor)
    return HalfVolume(voxels, (full.shape[0], rows, columns), *_mean_and_std(inner))


def half_slice(pixels: Volume, factor: float) -> Volume:
    """Resize one slice by ``factor`` in float32 and round: (y, x) -> (y, x) int16.

    Down to half the size and below by area averaging, since linear interpolation looks at two pixels along an axis and
    would alias; above, linearly. Both are equal at exactly 0.5, the factor of the challenge's slices.
    """
    how = cv2.INTER_AREA if factor <= 0.5 else cv2.INTER_LINEAR
    resized = cv2.resize(pixels.astype(np.float32), None, fx=factor, fy=factor, interpolation=how)
    return np.rint(resized).astype(np.int16)


def half_affine(affine: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Return the affine of the half grid: pixel h of it is centred at ``(h + 0.5) / factor - 0.5`` of the full grid."""
    to_full = np.diag([1.0, 1 / factor, 1 / factor, 1.0])
    to_full[1:3, 3] = 0.5 / factor - 0.5
    product: NDArray[np.float64] = affine @ to_full
    return product


def _half_sides(sides: tuple[int, ...], factor: float) -> tuple[int, int]:
    probe = cv2.resize(np.zeros(sides, np.float32), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return probe.shape[0], probe.shape[1]


def _mean_and_std(values: Volume) -> tuple[float, float]:
    """Mean and standard deviation in float64, a slice at a time, so that memory stays that of a slice."""
    count, total = values.size, 0.0
    for part in values:
        total += float(part.sum(dtype=np.int64))
    mean = total / count
    squares = sum(float(np.square(part - mean).sum()) for part in values)
    return mean, float(np.sqrt(squares / count))
