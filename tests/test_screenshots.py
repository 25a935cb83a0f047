"""Pictures of the pages stay small, in the colours of the levels."""

import io

import numpy as np
import pytest
from PIL import Image

from spine_models.inference.overlays import LEVEL_COLOURS, png_bytes
from tools.screenshots import small_png


def test_a_small_picture_keeps_all_its_colours():
    pixels = np.arange(40 * 40 * 3, dtype=np.uint32).reshape(40, 40, 3).astype(np.uint8)
    shown = Image.open(io.BytesIO(small_png(png_bytes(Image.fromarray(pixels)))))
    np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), pixels)


def test_a_large_picture_has_fewer_colours_but_those_of_the_levels():
    pixels = np.random.default_rng(0).integers(0, 16, (120, 120, 3), dtype=np.uint8)
    for number, colour in enumerate(LEVEL_COLOURS):
        pixels[10 * number : 10 * number + 8, :8] = colour
    png = png_bytes(Image.fromarray(pixels))
    made = small_png(png, len(png) * 4 // 5)
    assert len(made) < len(png)
    shown = np.asarray(Image.open(io.BytesIO(made)).convert("RGB"), dtype=int)
    for number, colour in enumerate(LEVEL_COLOURS):
        assert np.abs(shown[10 * number + 4, 4] - colour).max() <= 16


def test_a_picture_that_cannot_be_small_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with pytest.raises(SystemExit, match="takes more than 100 bytes"):
        small_png(png_bytes(Image.fromarray(noise)), 100)
