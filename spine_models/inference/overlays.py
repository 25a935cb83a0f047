"""Pictures of a study with its mask in colour: one sagittal and one axial slice, without any name."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spine_models.levels import LEVELS
from spine_models.provenance.files import replacing

LEVEL_COLOURS: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""C1 to C7: the palette of Okabe and Ito, which people who see red and green alike can tell apart."""

_WINDOW_HU = (-400.0, 1400.0)
_OPACITY = 0.4
_LONGEST_SIDE = 480


@dataclass(frozen=True)
class PictureSource:
    """What pictures are drawn from; everything on the half grid, without its padding.

    Attributes:
        volume: (z, y, x) HU.
        mask: (z, y, x) uint8 0..7.
        spacing_mm: (z, y, x).
    """

    volume: NDArray[np.int16]
    mask: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def picture_source(
    half: NDArray[np.int16],
    mask: NDArray[np.uint8],
    full_shape: Iterable[int],
    half_factor: float,
    spacing_mm: Iterable[float],
) -> PictureSource:
    """Cut the padding of the half grid away and work out its spacing.

    Args:
        half: (z, y, x) HU on the padded half grid.
        mask: the same shape.
        full_shape: (z, y, x) of the full volume.
        half_factor: half pixels for each full pixel.
        spacing_mm: (z, y, x) of the full volume.
    """
    _, rows, columns = (max(1, round(side * half_factor)) for side in full_shape)
    z, y, x = spacing_mm
    return PictureSource(half[:, :rows, :columns], mask[:, :rows, :columns], (z, y / half_factor, x / half_factor))


def sagittal_picture(source: PictureSource) -> Image.Image:
    """Draw the sagittal slice through the middle of the vertebrae (of the volume, if the mask is empty)."""
    columns = np.nonzero(source.mask.any(axis=(0, 1)))[0]
    position = int(np.median(columns)) if len(columns) else source.volume.shape[2] // 2
    z, y, _ = source.spacing_mm
    return _draw(source.volume[:, :, position], source.mask[:, :, position], (z, y))


def axial_picture(source: PictureSource, level: str | None = None, position: int | None = None) -> Image.Image:
    """Draw the axial slice ``position``; without one, that which shows most of ``level`` (of all, if there is none)."""
    value = LEVELS.index(level) + 1 if level else 0
    shown = source.mask == value if value and (source.mask == value).any() else source.mask > 0
    counts = shown.sum(axis=(1, 2))
    if position is None:
        position = int(np.argmax(counts)) if counts.any() else source.volume.shape[0] // 2
    _, y, x = source.spacing_mm
    return _draw(source.volume[position], source.mask[position], (y, x))


def png_bytes(picture: Image.Image) -> bytes:
    """Encode a picture as PNG; equal pictures give equal bytes, and no date or software is written."""
    stream = io.BytesIO()
    # zlib's highest level makes a file 8 % smaller in seven times the time, which is most of what a page takes.
    picture.save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


def save_png(path: Path, picture: Image.Image) -> None:
    """Write a picture, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(png_bytes(picture))


def _draw(plane: NDArray[np.int16], mask: NDArray[np.uint8], spacing: tuple[float, float]) -> Image.Image:
    low, high = _WINDOW_HU
    grey = np.clip((plane.astype(np.float32) - low) / (high - low), 0.0, 1.0) * 255.0
    colours = np.array([(0, 0, 0), *LEVEL_COLOURS], dtype=np.float32)
    opacity = np.where(mask > 0, _OPACITY, 0.0)[..., None]
    mixed = (1.0 - opacity) * grey[..., None] + opacity * colours[np.minimum(mask, len(LEVELS))]
    millimetres = [side * step for side, step in zip(plane.shape, spacing, strict=True)]
    scale = _LONGEST_SIDE / max(millimetres)
    height, width = (max(1, round(side * scale)) for side in millimetres)
    picture = Image.fromarray(np.rint(mixed).astype(np.uint8), mode="RGB")
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    _write_levels(picture, mask, (height / plane.shape[0], width / plane.shape[1]))
    return picture


def _write_levels(picture: Image.Image, mask: NDArray[np.uint8], scale: tuple[float, float]) -> None:
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=16)
    for value, level in enumerate(LEVELS, start=1):
        rows, columns = np.nonzero(mask == value)
        if len(rows):
            place = (float(columns.mean() * scale[1]), float(rows.mean() * scale[0]))
            pen.text(place, level, fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill="black")
