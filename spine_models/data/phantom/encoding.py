"""How a study's pixels are stored: transfer syntax, number type, rescale values, order and numbers of the files."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from spine_models.data.phantom.jpeg_lossless import encode_jpeg_lossless

PADDING_HU = -2048
"""Value outside the circular field of view, as in the challenge's files."""

Stored = NDArray[np.uint16] | NDArray[np.int16]


@dataclass(frozen=True)
class PixelStyle:
    """A number type and its rescale values.

    Attributes:
        bits_stored: 12 or 16 (of 16 allocated).
        signed: PixelRepresentation 1.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        padded: whether the corners outside the circular field of view hold ``PADDING_HU``.
    """

    bits_stored: int
    signed: bool
    slope: float
    intercept: float
    padded: bool


STYLES: tuple[PixelStyle, ...] = (
    PixelStyle(16, True, 1.0, 0.0, True),
    PixelStyle(12, False, 1.0, -1024.0, False),
    PixelStyle(16, True, 1.0, -1024.0, True),
    PixelStyle(16, False, 0.5, -4096.0, False),
    PixelStyle(16, False, 1.0, -8192.0, True),
)

_SYNTAXES: tuple[str, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    ExplicitVRLittleEndian,
    RLELossless,
    ExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    ExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLossless,
)
"""In turn over the studies; eleven, so that it falls out of step with the five pixel styles."""


@dataclass(frozen=True)
class Encoding:
    """How one study is written.

    Attributes:
        syntax: UID of the transfer syntax.
        style: number type.
        rising: whether z rises with the file's number (it falls in most).
        first_number: number of the first file.
        thickness: SliceThickness relative to the distance of the slices.
        extra_columns: columns beyond the matrix.
    """

    syntax: str
    style: PixelStyle
    rising: bool
    first_number: int
    thickness: float
    extra_columns: int


def encoding_of(rng: np.random.Generator, index: int, extra_columns: int) -> Encoding:
    """Return the way the study with a given number is written; neighbours differ."""
    return Encoding(
        str(_SYNTAXES[index % len(_SYNTAXES)]),
        STYLES[index % len(STYLES)],
        rising=index % 8 == 3,
        first_number=int(rng.integers(2, 80)) if index % 7 == 2 else 1,
        thickness=float(rng.choice([1.0, 1.0, 1.25, 2.0])),
        extra_columns=extra_columns,
    )


def stored_values(hu: NDArray[np.int16], style: PixelStyle) -> Stored:
    """Return the values to store for the Hounsfield units of a slice (row, column), corners padded if so styled."""
    values = hu.astype(np.float64)
    if style.padded:
        values[outside_field(hu.shape[0], hu.shape[1])] = PADDING_HU
    stored = np.rint((values - style.intercept) / style.slope)
    low, high = (-(1 << 15), (1 << 15) - 1) if style.signed else (0, (1 << style.bits_stored) - 1)
    stored = np.clip(stored, low, high)
    return stored.astype(np.int16) if style.signed else stored.astype(np.uint16)


def outside_field(rows: int, columns: int) -> NDArray[np.bool_]:
    """Return which pixels (row, column) are outside the circle around the slice's centre."""
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    x = np.arange(columns)[None, :] - (columns - 1) / 2
    outside: NDArray[np.bool_] = np.hypot(x, y) > max(rows, columns) / 2
    return outside


def encoder(syntax: str, bits_stored: int) -> Callable[[Stored], bytes] | None:
    """Return what compresses one slice (row, column) to a frame, or None if the syntax stores plain values."""
    if syntax in (JPEGLosslessSV1, JPEGLossless):
        return partial(encode_jpeg_lossless, bits_stored=bits_stored)
    if syntax in (JPEG2000Lossless, RLELossless):
        return partial(_encode_by_plugin, syntax=syntax, bits_stored=bits_stored)
    return None


def _encode_by_plugin(pixels: Stored, syntax: str, bits_stored: int) -> bytes:
    with _interrupts_held():
        frame: bytes = get_encoder(syntax).encode(
            pixels,
            encoding_plugin="pylibjpeg",
            rows=pixels.shape[0],
            columns=pixels.shape[1],
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=16,
            bits_stored=bits_stored,
            pixel_representation=int(pixels.dtype == np.int16),
            photometric_interpretation="MONOCHROME2",
        )
    return frame


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Answer Ctrl-C after the block, which takes milliseconds.

    pylibjpeg-openjpeg (2.6) logs from C through Python and does not look whether that raised: a ``KeyboardInterrupt``
    there crashes the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python answers in the main thread alone
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
