"""Pictures: right slice, right proportions, right colours, no metadata."""

import io

import numpy as np
from PIL import Image

from spine_models.inference.overlays import (
    LEVEL_COLOURS,
    axial_picture,
    picture_source,
    png_bytes,
    sagittal_picture,
)


def _source(spacing=(2.0, 1.0, 1.0)):
    volume = np.full((20, 64, 64), -1000, np.int16)
    mask = np.zeros(volume.shape, np.uint8)
    volume[:, :, 10] = 1400
    mask[4:10, 8:16, 10] = 1
    mask[12:18, 8:16, 10] = 2
    return picture_source(volume, mask, (20, 80, 128), 0.5, spacing)


def test_padding_is_cut_and_spacing_is_that_of_the_half_grid():
    source = _source()
    assert source.volume.shape == (20, 40, 64)
    assert source.spacing_mm == (2.0, 2.0, 2.0)


def test_sagittal_slice_goes_through_the_mask_in_true_proportions():
    picture = sagittal_picture(_source())
    # 20 slices of 2 mm by 40 rows of 2 mm: twice as wide as high.
    assert picture.size == (480, 240)
    pixels = np.asarray(picture)
    # Slice 10 is white; where C1 is drawn (z 4..10 of 20, y 8..16 of 40) it takes a part of C1's colour.
    assert (pixels[20, 20] == 255).all()
    expected = 0.6 * 255 + 0.4 * np.array(LEVEL_COLOURS[0])
    np.testing.assert_allclose(pixels[60, 110], expected, atol=2)


def test_axial_slice_shows_the_level_asked_for():
    source = _source((2.0, 1.0, 1.0))
    first, second = np.asarray(axial_picture(source, "C1")), np.asarray(axial_picture(source, "C2"))
    assert not np.array_equal(first, second)
    last = source.volume.shape[0] - 1
    chosen = np.asarray(axial_picture(source, "C1", last))
    assert (chosen != first).any()
    np.testing.assert_array_equal(chosen, np.asarray(axial_picture(source, None, last)))
    # C7 is not there: any slice with a mask will do.
    assert axial_picture(source, "C7").size == axial_picture(source).size


def test_an_empty_mask_still_gives_pictures():
    source = _source()
    empty = picture_source(source.volume, np.zeros_like(source.mask), source.volume.shape, 1.0, source.spacing_mm)
    assert sagittal_picture(empty).size[0] == 480
    assert axial_picture(empty, "C3").size[0] == 480


def test_png_holds_nothing_but_pixels():
    data = png_bytes(sagittal_picture(_source()))
    assert data == png_bytes(sagittal_picture(_source()))
    assert Image.open(io.BytesIO(data)).info == {}
    assert not any(chunk in data for chunk in (b"tEXt", b"iTXt", b"tIME", b"eXIf"))
