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


class HalfSlices:
    """The half-size volume of a volume that comes slice by slice; the factor is ``half_size / max(y, x)``.

    Args:
        shape: (z, y, x) of the full-size volume.
        half_size: pixels of the longest side, and of both sides after padding.
    """

    def __init__(self, shape: tuple[int, int, int], half_size: int) -> None:
        self._factor = half_size / max(shape[1:])
        self._sides = _half_sides(shape[1:], self._factor)
        self._voxels = np.full((shape[0], half_size, half_size), AIR_HU, np.int16)
        self._count = 0

    @property
    def _inner(self) -> Volume:
        return self._voxels[:, : self._sides[0], : self._sides[1]]

    def add(self, pixels: Volume) -> None:
        """Take the next full-size slice, (y, x) HU."""
        self._inner[self._count] = half_slice(pixels, self._factor)
        self._count += 1

    def volume(self) -> HalfVolume:
        """Return the half-size volume, once all slices are taken."""
        return HalfVolume(self._voxels, (len(self._voxels), *self._sides), *_mean_and_std(self._inner))


def half_volume(full: Volume, half_size: int) -> HalfVolume:
    """Resize every slice of a volume (z, y, x) in HU; see ``HalfSlices``."""
    depth, rows, columns = full.shape
    slices = HalfSlices((depth, rows, columns), half_size)
    for pixels in full:
        slices.add(pixels)
    return slices.volume()


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
