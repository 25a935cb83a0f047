"""What the page of a study shows is where the study is."""

import base64
import gzip
import json

import nibabel
import numpy as np
import pytest

from spine_models.inference import view_data as module
from spine_models.inference.nifti import nifti_affine
from spine_models.inference.view_data import places, view_data
from spine_models.levels import LEVELS
from tests.report.drawn_neck import affine, facts, neck


def decoded(text):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.fixture
def drawn():
    full, mask = neck()
    boxes = {level: (6 + 6 * n, 11 + 6 * n, 20, 28, 18 + n, 26 + n) for n, level in enumerate(LEVELS)}
    return full, np.ascontiguousarray(full[:, ::2, ::2]), mask, boxes


def millimetres(grid, z, y, x):
    return (nifti_affine(np.array(grid)) @ [x, y, z, 1.0])[:3]


def voxel_at(image, point):
    index = np.linalg.inv(image.affine) @ [*point, 1.0]
    return np.asarray(image.dataobj)[tuple(np.rint(index[:3]).astype(int))]


def test_every_image_lies_where_the_study_lies(drawn):
    full, half, mask, boxes = drawn
    images = view_data(half, mask, full, facts(), boxes, {"C1": 7, "C6": 40})
    shown, labels = decoded(images["neck"]), decoded(images["mask"])
    np.testing.assert_array_equal(shown.affine, labels.affine)
    assert shown.shape == labels.shape
    assert labels.get_data_dtype() == np.uint8
    for z, y, x in ((6, 20, 18), (43, 27, 30), (20, 24, 22)):
        point = millimetres(affine(2.0), z, y, x)
        assert voxel_at(shown, point) == half[z, y, x]
        assert voxel_at(labels, point) == mask[z, y, x]
    for level, z in (("C1", 7), ("C6", 40)):
        one = decoded(images["slices"][level])
        assert one.shape == (96, 96, 1)
        for y, x in ((41, 40), (95, 0), (16, 79)):
            assert voxel_at(one, millimetres(affine(1.0), z, y, x)) == full[z, y, x]


def test_the_neck_has_a_margin_in_millimetres_within_the_volume(drawn):
    full, half, mask, boxes = drawn
    shape = decoded(view_data(half, mask, full, facts(), {"C4": boxes["C4"]}, {})["neck"]).shape
    # C4: 5 slices of 3 mm, 8 x 8 pixels of 2 mm, 25 mm on every side.
    assert shape == (8 + 2 * 13, 8 + 2 * 13, 5 + 2 * 9)
    assert decoded(view_data(half, mask, full, facts(), {}, {})["neck"]).shape == (48, 48, 56)


def test_a_long_scan_is_thinned_out_and_keeps_its_length(drawn, monkeypatch):
    full, half, mask, _ = drawn
    monkeypatch.setattr(module, "MOST_VOXELS", half.size // 3)
    image = decoded(view_data(half, mask, full, facts(), {}, {})["neck"])
    assert image.shape == (48, 48, 19)
    assert voxel_at(image, millimetres(affine(2.0), 54, 24, 24)) == half[54, 24, 24]


def test_a_wide_slice_is_cut_down_around_the_neck(drawn, monkeypatch):
    full, half, mask, boxes = drawn
    monkeypatch.setattr(module, "MOST_PIXELS", 48 * 48)
    one = decoded(view_data(half, mask, full, facts(), boxes, {"C4": 26})["slices"]["C4"])
    assert one.shape == (48, 48, 1)
    assert voxel_at(one, millimetres(affine(1.0), 26, 48, 48)) == full[26, 48, 48]


def test_sizes_stay_below_what_a_page_may_have():
    """Even what cannot be compressed: base64 makes four letters of three bytes."""
    slices = len(LEVELS) * module.MOST_PIXELS
    assert 4 / 3 * (2 * (module.MOST_VOXELS + slices) + module.MOST_VOXELS) < 25e6 - 2.3e6


def test_extreme_values_are_limited(drawn):
    full, half, mask, _ = drawn
    half[0, 0, 0], half[1, 0, 0] = 30000, -3024
    data = np.asarray(decoded(view_data(half, mask, full, facts(), {}, {})["neck"]).dataobj)
    assert (data.min(), data.max()) == (-1024, 3071)


def test_where_to_look_is_counted_in_slices_of_the_series(drawn):
    _, _, mask, _ = drawn
    found = places(mask, facts(), {"C4": 27, "C5": 55})
    assert found.slices["C4"] == 27
    assert found.slices["C1"] == 6, "the first of equally large ones"
    assert found.suspicious == ("C4", "C5")
    a, b, c, d = found.slice_of_mm
    for level, z in (("C4", 27), ("C5", 34)):
        x, y, z_mm = found.points[level]
        index = np.rint(np.linalg.inv(nifti_affine(np.array(affine(2.0)))) @ [x, y, z_mm, 1.0])[:3].astype(int)
        assert mask[index[2], index[1], index[0]] == LEVELS.index(level) + 1
        assert index[2] == z, "the level's slice that is nearest to the suspicious one"
        assert a * x + b * y + c * z_mm + d == pytest.approx(2 * z)
    json.dumps(found.to_json())


def test_a_level_that_is_not_there_has_no_place(drawn):
    _, _, mask, _ = drawn
    found = places(np.where(mask == 3, 0, mask).astype(np.uint8), facts(), {})
    assert "C3" not in found.slices
    assert "C3" not in found.points
