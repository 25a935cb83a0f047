"""Triton kernels of a depthwise 3x3x3 convolution with padding 1, and of its gradients with stride 1 or 2.

Volumes are (N, C, Z, Y, X), contiguous. A program takes one channel of one crop and a tile of its planes, and walks
along z: each plane is read once, for the three output planes that it adds to. Everything is summed in float32 and
without atomics, so that the same input gives the same bits. This module needs Triton; ``depthwise`` imports it where
there is a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import triton
import triton.language as tl

TAPS = 27
_PROGRAMS = 4096
"""So many programs keep a GPU busy: volumes are cut along z where there are fewer."""
_PLANES = 8
"""Output planes that a program has at least, since each cut reads two planes twice."""
_WIDEST = 64
"""Voxels along x of a tile."""


@dataclass(frozen=True)
class Tile:
    """How a plane is cut.

    Attributes:
        voxels: of a tile, a power of two.
        per_thread: voxels that a thread holds, a power of two.
    """

    voxels: int
    per_thread: int


FORWARD = Tile(256, 4)
BACKWARD = Tile(512, 4)
"""Of the gradient by the image with stride 2; each position is a cube of 2x2x2 voxels there."""
WEIGHT = Tile(256, 4)


def convolve(image: torch.Tensor, weight: torch.Tensor, *, flipped: bool = False, tile: Tile = FORWARD) -> torch.Tensor:
    """Return the convolution with stride 1, of the shape of ``image`` (N, C, Z, Y, X).

    Args:
        image: contiguous.
        weight: (C, 1, 3, 3, 3), contiguous.
        flipped: take the weights from their end. The convolution of the output's gradient with flipped weights is the
            image's gradient.
        tile: of the output.
    """
    _, channels, depth, height, width = image.shape
    output = torch.empty_like(image)
    cut = _cut(*image.shape, tile)
    with torch.cuda.device_of(image):
        _convolve[(cut.volumes * cut.chunks * cut.tiles,)](
            image,
            weight,
            output,
            channels,
            depth,
            height,
            cut.chunk,
            X=width,
            FLIPPED=flipped,
            BY=cut.rows,
            BX=cut.columns,
            num_warps=cut.warps,
        )
    return output


def image_gradient(
    gradient: torch.Tensor, weight: torch.Tensor, size: torch.Size, stride: int, tile: Tile = BACKWARD
) -> torch.Tensor:
    """Return the gradient by the image, of shape ``size`` (N, C, Z, Y, X), from ``gradient``, that by the output."""
    if stride == 1:
        return convolve(gradient, weight, flipped=True)
    result = gradient.new_empty(size)
    cut = _cut(*gradient.shape, tile)
    with torch.cuda.device_of(gradient):
        _spread_by_two[(cut.volumes * cut.chunks * cut.tiles,)](
            gradient,
            weight,
            result,
            *size[1:4],
            cut.chunk,
            X=size[4],
            BY=cut.rows,
            BX=cut.columns,
            num_warps=cut.warps,
        )
    return result


def weight_gradient(gradient: torch.Tensor, image: torch.Tensor, stride: int, tile: Tile = WEIGHT) -> torch.Tensor:
    """Return the gradient by the weights (C, 1, 3, 3, 3) in float32 from ``gradient``, that by the output."""
    cut = _cut(*gradient.shape, tile)
    n, channels = gradient.shape[:2]
    parts = torch.empty(n, channels, cut.chunks, TAPS, dtype=torch.float32, device=image.device)
    with torch.cuda.device_of(image):
        (_correlate if stride == 1 else _correlate_by_two)[(cut.volumes * cut.chunks * 3,)](
            gradient,
            image,
            parts,
            *image.shape[2:4],
            cut.chunk,
            X=image.shape[4],
            BY=cut.rows,
            BX=cut.columns,
            num_warps=cut.warps,
        )
    return parts.sum((0, 2)).view(channels, 1, 3, 3, 3)


@dataclass(frozen=True)
class _Cut:
    """How volumes are cut into programs.

    Attributes:
        volumes: crops times channels.
        chunk: planes of a program.
        chunks: parts that this cuts a volume into along z.
        rows: along y, of a tile.
        columns: along x.
        tiles: of a plane.
        warps: of a program.
    """

    volumes: int
    chunk: int
    chunks: int
    rows: int
    columns: int
    tiles: int
    warps: int


@cache
def _cut(n: int, channels: int, depth: int, height: int, width: int, tile: Tile) -> _Cut:
    columns = min(_WIDEST, _power_of_two(width))
    rows = min(max(1, tile.voxels // columns), _power_of_two(height))
    tiles = _parts(height, rows) * _parts(width, columns)
    chunks = min(_parts(_PROGRAMS, n * channels * tiles), _parts(depth, _PLANES))
    chunk = _parts(depth, chunks)
    warps = max(1, rows * columns // tile.per_thread // 32)
    return _Cut(n * channels, chunk, _parts(depth, chunk), rows, columns, tiles, warps)


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


@triton.jit
def _nine(pointer: tl.tensor, STEP: tl.constexpr):
    """Load the nine weights of one plane."""
    return (
        tl.load(pointer).to(tl.float32),
        tl.load(pointer + STEP).to(tl.float32),
        tl.load(pointer + 2 * STEP).to(tl.float32),
        tl.load(pointer + 3 * STEP).to(tl.float32),
        tl.load(pointer + 4 * STEP).to(tl.float32),
        tl.load(pointer + 5 * STEP).to(tl.float32),
        tl.load(pointer + 6 * STEP).to(tl.float32),
        tl.load(pointer + 7 * STEP).to(tl.float32),
        tl.load(pointer + 8 * STEP).to(tl.float32),
    )


@triton.jit
def _place(part, Y, X: tl.constexpr, Z, chunk, BY: tl.constexpr, BX: tl.constexpr):
    """Return the volume of program ``part``, its first plane and the one after its last, its rows and its columns."""
    across: tl.constexpr = (X + BX - 1) // BX
    tiles = tl.cdiv(Y, BY) * across
    tile = part % tiles
    part = part // tiles
    chunks = tl.cdiv(Z, chunk)
    first = part % chunks * chunk
    y = tile // across * BY + tl.arange(0, BY)
    x = tile % across * BX + tl.arange(0, BX)
    return (part // chunks).to(tl.int64), first, tl.minimum(first + chunk, Z), y[:, None], x[None, :]


@triton.jit
def _value(plane, wanted, y, x, Y, X: tl.constexpr):
    """Load voxels of a plane in float32, zero outside it and where the plane is not wanted."""
    inside = wanted & (y >= 0) & (y < Y) & (x >= 0) & (x < X)
    return tl.load(plane + y * X + x, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _convolve(
    image,
    weight,
    output,
    channels,
    Z,
    Y,
    chunk,
    X: tl.constexpr,
    FLIPPED: tl.constexpr,
    BY: tl.constexpr,
    BX: tl.constexpr,
):
    volume, first, last, y, x = _place(tl.program_id(0), Y, X, Z, chunk, BY, BX)
    step: tl.constexpr = -1 if FLIPPED else 1
    taps = weight + volume % channels * 27 + (26 if FLIPPED else 0)
    below, middle, above = _nine(taps, step), _nine(taps + 9 * step, step), _nine(taps + 18 * step, step)
    image += volume * Z * Y * X
    output += volume * Z * Y * X
    finished, current = tl.zeros((BY, BX), tl.float32), tl.zeros((BY, BX), tl.float32)
    for z in range(first - 1, last + 1):
        coming = tl.zeros((BY, BX), tl.float32)
        plane = image + z * Y * X
        wanted = (z >= 0) & (z < Z)
        for ky in tl.static_range(3):
            for kx in tl.static_range(3):
                value = _value(plane, wanted, y + (ky - 1), x + (kx - 1), Y, X)
                finished += value * above[3 * ky + kx]
                current += value * middle[3 * ky + kx]
                coming += value * below[3 * ky + kx]
        inside = (z > first) & (y < Y) & (x < X)
        tl.store(output + (z - 1) * Y * X + y * X + x, finished.to(output.dtype.element_ty), mask=inside)
        finished, current = current, coming


@triton.jit
def _spread(here, right, under, across, taps):
    """Return what four neighbouring gradients give to the 2x2 voxels of a position: y, then x, even and odd."""
    return (
        here * taps[4],
        here * taps[5] + right * taps[3],
        here * taps[7] + under * taps[1],
        here * taps[8] + right * taps[6] + under * taps[2] + across * taps[0],
    )


@triton.jit
def _spread_by_two(
    gradient,
    weight,
    result,
    channels,
    Z,
    Y,
    chunk,
    X: tl.constexpr,
    BY: tl.constexpr,
    BX: tl.constexpr,
):
    OZ, OY = (Z + 1) // 2, (Y + 1) // 2
    OX: tl.constexpr = (X + 1) // 2
    volume, first, last, y, x = _place(tl.program_id(0), OY, OX, OZ, chunk, BY, BX)
    taps = weight + volume % channels * 27
    below, middle, above = _nine(taps, 1), _nine(taps + 9, 1), _nine(taps + 18, 1)
    gradient += volume * OZ * OY * OX
    result += volume * Z * Y * X
    tile = tl.program_id(0) % (tl.cdiv(OY, BY) * ((OX + BX - 1) // BX))
    columns = 2 * (tile % ((OX + BX - 1) // BX) * BX) + tl.arange(0, 2 * BX)[None, :]
    here = tl.zeros((BY, BX), tl.float32)
    right, under, across = here, here, here
    for z in range(first - 1, last):
        plane = gradient + (z + 1) * OY * OX
        wanted = z + 1 < OZ
        here_after = _value(plane, wanted, y, x, OY, OX)
        right_after = _value(plane, wanted, y, x + 1, OY, OX)
        under_after = _value(plane, wanted, y + 1, x, OY, OX)
        across_after = _value(plane, wanted, y + 1, x + 1, OY, OX)
        even = _spread(here, right, under, across, middle)
        odd = _spread(here, right, under, across, above)
        after = _spread(here_after, right_after, under_after, across_after, below)
        for ky in tl.static_range(2):
            target = result + 2 * z * Y * X + (2 * y + ky) * X + columns
            inside = (z >= first) & (2 * y + ky < Y) & (columns < X)
            row = tl.interleave(even[2 * ky], even[2 * ky + 1])
            tl.store(target, row.to(result.dtype.element_ty), mask=inside)
            row = tl.interleave(odd[2 * ky] + after[2 * ky], odd[2 * ky + 1] + after[2 * ky + 1])
            tl.store(target + Y * X, row.to(result.dtype.element_ty), mask=inside & (2 * z + 1 < Z))
        here, right, under, across = here_after, right_after, under_after, across_after


@triton.jit
def _store_nine(pointer, a0, a1, a2, b0, b1, b2, c0, c1, c2):
    """Store the sums of nine tiles as the weights of one row (y) of the kernel: z, then x."""
    tl.store(pointer, tl.sum(a0))
    tl.store(pointer + 1, tl.sum(a1))
    tl.store(pointer + 2, tl.sum(a2))
    tl.store(pointer + 9, tl.sum(b0))
    tl.store(pointer + 10, tl.sum(b1))
    tl.store(pointer + 11, tl.sum(b2))
    tl.store(pointer + 18, tl.sum(c0))
    tl.store(pointer + 19, tl.sum(c1))
    tl.store(pointer + 20, tl.sum(c2))


@triton.jit
def _correlate(gradient, image, parts, Z, Y, chunk, X: tl.constexpr, BY: tl.constexpr, BX: tl.constexpr):
    ky = tl.program_id(0) % 3
    part = tl.program_id(0) // 3
    chunks = tl.cdiv(Z, chunk)
    volume = (part // chunks).to(tl.int64)
    first = part % chunks * chunk
    last = tl.minimum(first + chunk, Z)
    gradient += volume * Z * Y * X
    image += volume * Z * Y * X
    none = tl.zeros((BY, BX), tl.float32)
    a0, a1, a2, b0, b1, b2, c0, c1, c2 = none, none, none, none, none, none, none, none, none
    for tile in range(0, tl.cdiv(Y, BY) * ((X + BX - 1) // BX)):
        y = (tile // ((X + BX - 1) // BX) * BY + tl.arange(0, BY))[:, None]
        x = (tile % ((X + BX - 1) // BX) * BX + tl.arange(0, BX))[None, :]
        # Two zeros, since Triton does not carry a variable through a loop whose new value, ``here`` as the loop
        # begins, is the very one that it had: the interpreter does.
        before, here = tl.zeros((BY, BX), tl.float32), tl.zeros((BY, BX), tl.float32)
        for z in range(first - 1, last + 1):
            plane = image + z * Y * X
            wanted = (z >= 0) & (z < Z)
            left = _value(plane, wanted, y + (ky - 1), x - 1, Y, X)
            centre = _value(plane, wanted, y + (ky - 1), x, Y, X)
            right = _value(plane, wanted, y + (ky - 1), x + 1, Y, X)
            after = _value(gradient + (z + 1) * Y * X, z + 1 < last, y, x, Y, X)
            a0 += after * left
            a1 += after * centre
            a2 += after * right
            b0 += here * left
            b1 += here * centre
            b2 += here * right
            c0 += before * left
            c1 += before * centre
            c2 += before * right
            before, here = here, after
    _store_nine(parts + part * 27 + 3 * ky, a0, a1, a2, b0, b1, b2, c0, c1, c2)


@triton.jit
def _correlate_by_two(gradient, image, parts, Z, Y, chunk, X: tl.constexpr, BY: tl.constexpr, BX: tl.constexpr):
    OZ, OY = (Z + 1) // 2, (Y + 1) // 2
    OX: tl.constexpr = (X + 1) // 2
    ky = tl.program_id(0) % 3
    part = tl.program_id(0) // 3
    chunks = tl.cdiv(OZ, chunk)
    volume = (part // chunks).to(tl.int64)
    first = part % chunks * chunk
    last = tl.minimum(first + chunk, OZ)
    gradient += volume * OZ * OY * OX
    image += volume * Z * Y * X
    none = tl.zeros((BY, BX), tl.float32)
    a0, a1, a2, b0, b1, b2, c0, c1, c2 = none, none, none, none, none, none, none, none, none
    for tile in range(0, tl.cdiv(OY, BY) * ((OX + BX - 1) // BX)):
        y = (tile // ((OX + BX - 1) // BX) * BY + tl.arange(0, BY))[:, None]
        x = (tile % ((OX + BX - 1) // BX) * BX + tl.arange(0, BX))[None, :]
        row = 2 * y + (ky - 1)
        here = none
        for z in range(first - 1, last):
            plane = image + 2 * z * Y * X
            after = _value(gradient + (z + 1) * OY * OX, z + 1 < last, y, x, OY, OX)
            b0 += here * _value(plane, z >= first, row, 2 * x - 1, Y, X)
            b1 += here * _value(plane, z >= first, row, 2 * x, Y, X)
            b2 += here * _value(plane, z >= first, row, 2 * x + 1, Y, X)
            wanted = (z >= 0) & (2 * z + 1 < Z)
            left = _value(plane + Y * X, wanted, row, 2 * x - 1, Y, X)
            centre = _value(plane + Y * X, wanted, row, 2 * x, Y, X)
            right = _value(plane + Y * X, wanted, row, 2 * x + 1, Y, X)
            a0 += after * left
            a1 += after * centre
            a2 += after * right
            c0 += here * left
            c1 += here * centre
            c2 += here * right
            here = after
    _store_nine(parts + part * 27 + 3 * ky, a0, a1, a2, b0, b1, b2, c0, c1, c2)
