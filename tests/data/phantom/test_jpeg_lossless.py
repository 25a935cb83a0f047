from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEGLosslessSV1

from spine_models.data.phantom.jpeg_lossless import encode_jpeg_lossless


def decoded(
    stream: bytes, pixels: NDArray[np.uint16] | NDArray[np.int16], bits: int, plugin: str
) -> NDArray[np.generic]:

    array, _ = get_decoder(JPEGLosslessSV1).as_array(
        encapsulate([stream]),
        decoding_plugin=plugin,
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=16,
        bits_stored=bits,
        pixel_representation=int(pixels.dtype == np.int16),
        photometric_interpretation="MONOCHROME2",
        pixel_keyword="PixelData",
        raw=False,
    )
    return array


@pytest.mark.parametrize("plugin", ["pylibjpeg", "gdcm"])
@pytest.mark.parametrize(
    ("kind", "bits", "low", "high"),
    [(np.uint16, 12, 0, 4095), (np.uint16, 16, 0, 65535), (np.int16, 16, -32768, 32767), (np.int16, 16, -5, 6)],
)
def test_independent_decoders_return_the_pixels(plugin: str, kind: type, bits: int, low: int, high: int) -> None:
    pixels = np.random.default_rng(3).integers(low, high + 1, (37, 41)).astype(kind)
    pixels[0, :3] = (low, high, low)
    assert np.array_equal(decoded(encode_jpeg_lossless(pixels, bits), pixels, bits, plugin), pixels)


def test_smooth_slices_shrink() -> None:
    ramp = (np.add.outer(np.arange(128), np.arange(128)) * 3).astype(np.uint16)
    stream = encode_jpeg_lossless(ramp, 16)
    assert len(stream) < ramp.nbytes / 3
    assert len(stream) % 2 == 0
    assert np.array_equal(decoded(stream, ramp, 16, "pylibjpeg"), ramp)
