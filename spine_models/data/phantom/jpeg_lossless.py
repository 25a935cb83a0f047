"""JPEG lossless, non-hierarchical, first-order prediction (process 14, selection value 1): the challenge's compression.

Nothing at hand writes it from memory without a detour over files, and the coder is short: differences to the left
neighbour (in the first column to the pixel above), each as a Huffman code of its number of bits followed by those bits
(ITU-T T.81, annex H).
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_LENGTHS = (2, 2, 3, 3, 4, 4, 5, 5, 8, 8, 8, 8, 8, 8, 8, 8, 8)
"""Lengths of the codes of the 17 categories, the most frequent first: a complete set needs no code of only ones."""

Pixels = NDArray[np.uint16] | NDArray[np.int16]


def encode_jpeg_lossless(pixels: Pixels, bits_stored: int) -> bytes:
    """Compress one slice.

    Args:
        pixels: 16-bit values (row, column); signed ones are stored as their two's complement.
        bits_stored: precision, 2 to 16; unsigned values must fit.

    Returns:
        a JPEG stream from SOI to EOI, of even length.
    """
    differences = _differences(pixels.view(np.uint16).astype(np.int64), bits_stored)
    categories = _bit_lengths(np.abs(differences))
    order = np.argsort(-np.bincount(categories, minlength=17), kind="stable")
    codes, lengths = np.zeros(17, np.int64), np.zeros(17, np.int64)
    codes[order], lengths[order] = _canonical_codes(), _LENGTHS
    extra_bits = np.where(categories == 16, 0, categories)
    extra = np.where(differences < 0, differences + (1 << categories) - 1, differences) & ((1 << extra_bits) - 1)
    words = (codes[categories] << extra_bits) | extra
    scan = _packed(words, lengths[categories] + extra_bits).replace(b"\xff", b"\xff\x00")
    stream = _headers(pixels.shape[0], pixels.shape[1], bits_stored, order) + scan + b"\xff\xd9"
    return stream + b"\0" * (len(stream) % 2)


def _differences(values: NDArray[np.int64], bits_stored: int) -> NDArray[np.int64]:
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (bits_stored - 1)
    wrapped = (values - predicted) & 0xFFFF
    return np.where(wrapped > 0x8000, wrapped - 0x10000, wrapped).ravel()


def _bit_lengths(magnitudes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(1 << np.arange(17), magnitudes, side="right").astype(np.int64)


def _canonical_codes() -> list[int]:
    codes, code, previous = [], 0, _LENGTHS[0]
    for length in _LENGTHS:
        code <<= length - previous
        codes.append(code)
        code, previous = code + 1, length
    return codes


def _packed(words: NDArray[np.int64], lengths: NDArray[np.int64]) -> bytes:
    places = np.arange(int(lengths.max()) - 1, -1, -1)
    bits = ((words[:, None] >> places) & 1).astype(np.uint8)
    stream = bits[places[None, :] < lengths[:, None]]
    filler = np.ones(-len(stream) % 8, np.uint8)
    return np.packbits(np.concatenate([stream, filler])).tobytes()


def _headers(rows: int, columns: int, precision: int, order: NDArray[np.int64]) -> bytes:
    counts = bytes(_LENGTHS.count(length) for length in range(1, 17))
    frame = struct.pack(">HBHHBBBB", 11, precision, rows, columns, 1, 1, 0x11, 0)
    table = struct.pack(">HB", 19 + 17, 0) + counts + bytes(order.tolist())
    scan = struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8\xff\xc3" + frame + b"\xff\xc4" + table + b"\xff\xda" + scan
