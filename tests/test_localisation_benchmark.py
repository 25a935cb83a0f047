"""The table of ``python -m benchmarks localisation``."""

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.localisation import Looked, sign_test, slice_of, table


def looked(ours, centre, extent, height=10):
    return Looked(ours, centre, extent, height, predicting=0.5, pointing=0.25)


def test_shares_and_means_of_all_and_of_focal_fractures():
    lines = table([looked(0, 1, 10), looked(4, 0.5, 7), looked(1, 4, 6), looked(3, 5, 2)], tried=9).splitlines()
    assert lines[0] == "9 phantoms with one fractured level, 4 of them found, 2 of these focal"
    assert lines[4] == "| all found | 4 | 0.75 | 0.50 | 0.50 | 0.50 | 2.0 | 2.6 |"
    assert lines[5] == "| focal | 2 | 1.00 | 0.00 | 0.50 | 0.00 | 2.0 | 4.5 |"
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|")
    assert lines[7] == "nearer than the middle by a slice or more: 3, farther: 1 (sign test, two-sided: p = 0.62)"
    assert "probabilities 0.50, where to look 0.25" in lines[-1]


@pytest.mark.parametrize(("more", "less", "p"), [(0, 0, 1.0), (5, 5, 1.0), (9, 1, 22 / 1024), (1, 9, 22 / 1024)])
def test_the_sign_test_counts_both_directions(more, less, p):
    assert sign_test(more, less) == pytest.approx(p)


def test_nothing_found_gives_no_figure():
    assert "0 of them found" in table([], tried=3)


def test_the_slice_of_a_file_counts_along_the_volume(tmp_path):
    header = pydicom.Dataset()
    header.ImagePositionPatient = [5.0, 6.0, 92.5]
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.preamble = b"\0" * 128
    header.save_as(tmp_path / "4.dcm", enforce_file_format=False)
    # From the top, z = 100, down by 2.5 mm a slice: three slices further. The corner of the plane does not matter.
    affine = ((0.0, 0.0, 0.9, -50.0), (0.0, 0.9, 0.0, -60.0), (-2.5, 0.0, 0.0, 100.0), (0.0, 0.0, 0.0, 1.0))
    assert slice_of(tmp_path / "4.dcm", affine) == pytest.approx(3.0)
