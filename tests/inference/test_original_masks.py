"""Masks on the original images: a drawn mark is where it was drawn, by readers that share no code with the writers."""

from __future__ import annotations

import gzip
import itertools
import shutil
import subprocess
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from spine_models.data.dicom.identity import read_identity
from spine_models.data.dicom.study import VolumeSettings, decode_study, open_study
from spine_models.inference.mask_nifti import write_nifti
from spine_models.inference.mask_seg import SegSource, seg_refusal, write_seg
from spine_models.inference.original_slices import OriginalSlices
from spine_models.levels import LEVELS
from tests.data.dicom_builder import encoded, enhanced, write_stack

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data is not there")
BUNDLE = "b" * 64
SHAPE = (11, 14)


def pixels(index):
    return (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) + 100 * index).astype("<i2")


class Drawn:
    """A study on disk, and a mark that is drawn in the patient's millimetres."""

    def __init__(self, folder, z_step=1):
        self.folder = folder
        self.source = open_study(folder, folder, VolumeSettings(z_step))
        grid = self.source.grid
        self.settings = VolumeSettings(z_step, max(grid.shape[1:]))
        self.study = decode_study(self.source, self.settings)
        z, y, x = np.indices(self.study.half.shape)
        where = np.stack([z, y, x, np.ones_like(z)], axis=-1) @ np.array(self.study.facts.half_affine_lps).T
        self.mask = self.mark(where[..., :3])
        self.slices = OriginalSlices(self.mask, grid, z_step, self.study.facts.half_factor)

    def mark(self, where):
        """An L of level 2 with a spot of level 7 at one end; (..., 3) mm to labels."""
        low, high = self.extent()
        part = (where - low) / (high - low)
        inside = (part[..., 0] > 0.15) & (part[..., 0] < 0.8) & (part[..., 1] > 0.1) & (part[..., 1] < 0.5)
        labels = np.where(inside & (part[..., 2] > 0.2) & (part[..., 2] < 0.9), 2, 0)
        labels[(part[..., 0] > 0.5) & (labels == 2) & (part[..., 2] > 0.6)] = 7
        return labels.astype(np.uint8)

    def extent(self):
        affine, shape = np.array(self.study.facts.affine_lps), np.array(self.study.full.shape) - 1
        corners = np.array([[*(np.array(c) * shape), 1] for c in itertools.product((0, 1), repeat=3)]) @ affine.T
        return corners[:, :3].min(axis=0), corners[:, :3].max(axis=0)

    @cached_property
    def original(self):
        """SOPInstanceUID and frame to the place of each pixel (rows, columns, 3): by pydicom and plain arithmetic."""
        found = {}
        for path in sorted(self.folder.iterdir()):
            dataset = pydicom.dcmread(path, force=True)
            for frame in range(int(dataset.get("NumberOfFrames", 1))):
                groups = dataset.get("PerFrameFunctionalGroupsSequence")
                shared = dataset.get("SharedFunctionalGroupsSequence")
                place = groups[frame].PlanePositionSequence[0] if groups else dataset
                turn = shared[0].PlaneOrientationSequence[0] if shared else dataset
                size = shared[0].PixelMeasuresSequence[0] if shared else dataset
                row, column = np.array(turn.ImageOrientationPatient[:3]), np.array(turn.ImageOrientationPatient[3:])
                down, right = np.indices((dataset.Rows, dataset.Columns))
                found[(dataset.SOPInstanceUID, frame)] = (
                    np.array(place.ImagePositionPatient, float)
                    + down[..., None] * size.PixelSpacing[0] * column
                    + right[..., None] * size.PixelSpacing[1] * row
                )
        return found

    def seg(self, path, empty_frames=False, patient=False):
        identity = read_identity(self.source, patient=patient)
        write_seg(path, self.slices, SegSource(identity, self.source.content_digest, BUNDLE, empty_frames))
        return path


def write_eight(folder, row_sign, column_sign, swapped, step=(0.0, 0.0, -2.0), **tags):
    row, column = np.array([row_sign, 0, 0.0]), np.array([0, column_sign, 0.0])
    orientation = [*column, *row] if swapped else [*row, *column]
    write_stack(
        folder, 9, step, (-10.0, -20.0, 100.0), pixels=pixels, ImageOrientationPatient=orientation,
        PixelSpacing=[2.0, 1.0], FrameOfReferenceUID="1.2.3.4", **tags,
    )  # fmt: skip


EIGHT = list(itertools.product((1, -1), (1, -1), (False, True)))


def assert_nifti_is_the_mark(drawn, path, away=0.0):
    """Every voxel of the file has the label drawn where its affine puts it, up to ``away`` mm in its plane."""
    image = nibabel.load(path)
    data = np.asarray(image.dataobj)
    assert data.dtype == np.uint8
    itk = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk), data.transpose(2, 1, 0))
    last = np.array(data.shape) - 1
    ras = (image.affine @ [*last, 1])[:3]
    np.testing.assert_allclose(itk.TransformIndexToPhysicalPoint([int(v) for v in last]), ras * [-1, -1, 1], atol=1e-3)
    np.testing.assert_allclose(image.affine, image.header.get_qform(), atol=1e-3)
    assert set(np.unique(data)) == {0, 2, 7}
    for sop, where in drawn.original.items():
        labels = drawn.mark(where)
        index = (
            np.linalg.inv(image.affine)
            @ np.concatenate([where * [-1, -1, 1], np.ones((*where.shape[:2], 1))], axis=-1).reshape(-1, 4).T
        )
        nearest = np.rint(index[:3] + 1e-9).astype(int)
        moved = np.linalg.norm((index[:3] - nearest) * np.linalg.norm(image.affine[:3, :3], axis=0)[:, None], axis=0)
        assert moved.max() <= away + 1e-3, sop
        np.testing.assert_array_equal(data[tuple(nearest)].reshape(labels.shape), labels)


def assert_seg_is_the_mark(drawn, path, empty_frames, expected=None):
    """Each source slice's frames hold the labels drawn on its pixels, as highdicom and pydicom read them."""
    expected = expected or {sop: drawn.mark(where) for sop, where in drawn.original.items()}
    places = {sop: where[0, 0] for sop, where in drawn.original.items()}
    dataset = pydicom.dcmread(path)
    seen = {sop: np.zeros(labels.shape, np.uint8) for sop, labels in expected.items()}
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for pixels_, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        (item,) = group.DerivationImageSequence[0].SourceImageSequence
        sop = (item.ReferencedSOPInstanceUID, int(item.get("ReferencedFrameNumber", 1)) - 1)
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        seen[sop][pixels_ > 0] = number
        np.testing.assert_allclose(group.PlanePositionSequence[0].ImagePositionPatient, places[sop], atol=1e-4)
    for sop, labels in expected.items():
        np.testing.assert_array_equal(seen[sop], labels)
    count = 7 * len(expected) if empty_frames else sum(len(np.unique(m)) - (0 in m) for m in expected.values())
    assert dataset.NumberOfFrames == count
    reread = highdicom.seg.segread(path)
    assert [reread.get_segment_description(n).segment_label for n in reread.segment_numbers] == list(LEVELS)
    return dataset


@pytest.mark.parametrize(("row_sign", "column_sign", "swapped"), EIGHT)
@pytest.mark.parametrize("step", [-2.0, 2.0])
def test_a_mark_on_eight_kinds_of_planes(tmp_path, row_sign, column_sign, swapped, step):
    write_eight(tmp_path / "ct", row_sign, column_sign, swapped, (0.0, 0.0, step))
    drawn = Drawn(tmp_path / "ct")
    assert write_nifti(tmp_path / "m.nii.gz", drawn.slices) == ()
    assert_nifti_is_the_mark(drawn, tmp_path / "m.nii.gz")
    for empty_frames in (False, True):
        assert_seg_is_the_mark(drawn, drawn.seg(tmp_path / "m.dcm", empty_frames), empty_frames)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize(("row_sign", "column_sign", "swapped"), EIGHT)
def test_the_affine_is_that_of_dcm2niix(tmp_path, row_sign, column_sign, swapped):
    write_eight(tmp_path / "ct", row_sign, column_sign, swapped)
    write_nifti(tmp_path / "m.nii.gz", Drawn(tmp_path / "ct").slices)
    (tmp_path / "out").mkdir()
    command = ["dcm2niix", "-z", "n", "-f", "a", "-o", tmp_path / "out", tmp_path / "ct"]
    subprocess.run(command, check=True, capture_output=True)
    (converted,) = (tmp_path / "out").glob("*.nii")
    mask, image = nibabel.load(tmp_path / "m.nii.gz"), nibabel.load(converted)
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tilted_series(tmp_path, sign):
    angle = np.radians(20.0)
    orientation = [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(sign * np.sin(angle))]
    write_stack(
        tmp_path / "ct", 9, (0.0, 0.0, -2.0), (-10.0, -20.0, 100.0), pixels=pixels,
        ImageOrientationPatient=orientation, PixelSpacing=[1.0, 1.0], FrameOfReferenceUID="1.2.3.4",
    )  # fmt: skip
    drawn = Drawn(tmp_path / "ct")
    (note,) = write_nifti(tmp_path / "m.nii.gz", drawn.slices)
    assert "resampled to an orthonormal grid" in note
    axes = nibabel.load(tmp_path / "m.nii.gz").affine[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag(np.square(np.linalg.norm(axes, axis=0))), atol=1e-5)
    assert_nifti_is_the_mark(drawn, tmp_path / "m.nii.gz", away=0.5)
    assert_seg_is_the_mark(drawn, drawn.seg(tmp_path / "m.dcm"), False)


def test_frames_of_a_multi_frame_file_are_referred_to_by_number(tmp_path):
    (tmp_path / "ct").mkdir()
    frames = np.stack([pixels(index) for index in range(8)])
    (tmp_path / "ct" / "a.dcm").write_bytes(encoded(enhanced(frames, FrameOfReferenceUID="1.2.3.4")))
    drawn = Drawn(tmp_path / "ct")
    write_nifti(tmp_path / "m.nii.gz", drawn.slices)
    assert_nifti_is_the_mark(drawn, tmp_path / "m.nii.gz")
    dataset = assert_seg_is_the_mark(drawn, drawn.seg(tmp_path / "m.dcm", empty_frames=True), True)
    (series,) = dataset.ReferencedSeriesSequence
    (instance,) = series.ReferencedInstanceSequence
    assert instance.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"


@pytest.mark.parametrize("z_step", [2, 3])
def test_each_slice_takes_the_mask_of_the_nearest_kept_one_and_of_two_the_superior(tmp_path, z_step):
    write_eight(tmp_path / "ct", 1, 1, False)
    drawn = Drawn(tmp_path / "ct", z_step)
    mask = np.zeros_like(drawn.mask)
    mask[:, 3, 4] = np.arange(1, len(mask) + 1)
    slices = replace(drawn.slices, mask=mask)
    expected = {2: [1, 1, 2, 2, 3, 3, 4, 4, 5], 3: [1, 1, 2, 2, 2, 3, 3, 3, 3]}[z_step]
    write_nifti(tmp_path / "m.nii.gz", slices)
    data = np.asarray(nibabel.load(tmp_path / "m.nii.gz").dataobj)
    assert data[4, -1 - 3, ::-1].tolist() == expected
    assert [slices.slice(index)[3, 4] for index in range(9)] == expected
    assert data.astype(int).sum() == sum(expected)


def test_an_irregular_series_keeps_its_slices_in_the_seg_and_even_steps_in_the_nifti(tmp_path):
    heights = [0.0, 1.0, 2.0, 3.3, 4.6, 5.9, 6.9, 7.9, 8.9]
    write_stack(
        tmp_path / "ct", 9, (0.0, 0.0, 0.0), pixels=pixels, FrameOfReferenceUID="1.2.3.4",
        ImagePositionPatient=lambda i: [0.0, 0.0, 100.0 - heights[i]],
    )  # fmt: skip
    drawn = Drawn(tmp_path / "ct")
    mask = np.zeros_like(drawn.mask)
    mask[:, 2, 5] = np.arange(len(mask)) % 7 + 1
    drawn.slices = replace(drawn.slices, mask=mask)
    (note,) = write_nifti(tmp_path / "m.nii.gz", drawn.slices)
    assert "even steps" in note
    expected = {}
    for number, height in enumerate(heights, start=1):
        labels = np.zeros(SHAPE, np.uint8)
        kept = np.arange(len(mask))
        labels[2, 5] = int(np.abs(kept - height).argmin()) % 7 + 1
        expected[(f"1.2.826.0.1.3680043.271.1.{number}", 0)] = labels
    assert_seg_is_the_mark(drawn, drawn.seg(tmp_path / "m.dcm"), False, expected)


def test_what_a_seg_says_of_itself(tmp_path):
    write_eight(tmp_path / "ct", 1, 1, False, StudyDate="20240229", StudyTime="101112")
    drawn = Drawn(tmp_path / "ct")
    first = drawn.seg(tmp_path / "a.dcm").read_bytes()
    assert drawn.seg(tmp_path / "b.dcm").read_bytes() == first
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    assert (dataset.PatientID, dataset.StudyInstanceUID) == ("271", "1.2.826.0.1.3680043.271")
    assert (str(dataset.PatientName), dataset.PatientBirthDate, dataset.StudyDate) == ("", "", "20240229")
    assert b"SECRET" not in first
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.826.0.1.3680043.271.1"
    assert len(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 9
    assert dataset.FrameOfReferenceUID == "1.2.3.4"
    codes = [item.SegmentedPropertyTypeCodeSequence[0] for item in dataset.SegmentSequence]
    assert [code.CodeValue for code in codes] == [
        "14806007", "39976000", "113205007", "5329002", "36978003", "36054005", "87391001",
    ]  # fmt: skip
    assert {code.CodingSchemeDesignator for code in codes} == {"SCT"}
    algorithm = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == BUNDLE
    drawn.seg(tmp_path / "c.dcm", patient=True)
    with_patient = pydicom.dcmread(tmp_path / "c.dcm")
    assert (str(with_patient.PatientName), with_patient.PatientBirthDate) == ("SECRET^NAME", "19700101")
    assert with_patient.SOPInstanceUID != dataset.SOPInstanceUID


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_no_seg_without_uids_to_refer_to(tmp_path, keyword):
    write_eight(tmp_path / "ct", 1, 1, False, **{keyword: ""})
    headers = open_study(tmp_path / "ct", tmp_path, VolumeSettings()).grid.headers
    assert f"no valid {keyword}" in seg_refusal(headers)


def test_no_seg_over_slices_that_cannot_be_told_apart(tmp_path):
    write_eight(tmp_path / "ct", 1, 1, False)
    headers = open_study(tmp_path / "ct", tmp_path, VolumeSettings()).grid.headers
    assert seg_refusal(headers) == ""
    assert "no valid SOPInstanceUID" in seg_refusal([replace(headers[0], sop_instance=""), *headers[1:]])
    same = [replace(header, sop_instance="1.2.3") for header in headers]
    assert "several slices have the same SOPInstanceUID" in seg_refusal(same)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian dicom3tools) is not installed")
@pytest.mark.parametrize("empty_frames", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"PatientID": "", "PatientBirthDate": None, "PatientName": None},
        {"SeriesNumber": 2**31 - 1, "SpecificCharacterSet": "ISO_IR 192", "PatientID": "Größe 患者"},
    ],
)
def test_dciodvfy_finds_no_error(tmp_path, empty_frames, changes):
    write_eight(tmp_path / "ct", 1, 1, False, **changes)
    path = Drawn(tmp_path / "ct").seg(tmp_path / "m.dcm", empty_frames)
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert "Segmentation" in lines
    assert [line for line in lines if line.startswith("Error")] == []


def test_names_of_levels_are_in_the_header(tmp_path):
    write_eight(tmp_path / "ct", 1, 1, False)
    write_nifti(tmp_path / "m.nii.gz", Drawn(tmp_path / "ct").slices)
    (extension,) = nibabel.load(tmp_path / "m.nii.gz").header.extensions
    labels = ElementTree.fromstring(extension.get_content()).iter("Label")
    assert {int(label.attrib["Key"]): label.text for label in labels} == dict(enumerate(LEVELS, start=1))
    assert gzip.decompress((tmp_path / "m.nii.gz").read_bytes())[344:347] == b"n+1"


@needs
def test_the_label_map_of_a_real_trunk(tmp_path):
    shutil.copytree(SHARED / "ct_j2k_t11_t12" / "dicom", tmp_path / "ct")
    source = open_study(tmp_path / "ct", tmp_path, VolumeSettings())
    assert "no valid StudyInstanceUID" in seg_refusal(source.grid.headers)
    for number, path in enumerate((tmp_path / "ct").iterdir(), start=1):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
        dataset.SOPInstanceUID = f"1.2.3.1.{number}"
        dataset.save_as(path)
    label = nibabel.load(SHARED / "ct_j2k_t11_t12" / "labels.nii.gz")
    volume = np.asarray(label.dataobj)
    truth = np.where(volume == 32, 1, np.where(volume == 33, 2, 0)).astype(np.uint8)
    drawn = Drawn(tmp_path / "ct")
    affine = np.linalg.inv(label.affine) @ np.diag([-1, -1, 1, 1]) @ np.array(drawn.study.facts.affine_lps)
    index = np.rint(np.stack([*np.indices(drawn.study.full.shape), np.ones(drawn.study.full.shape)], -1) @ affine.T)
    x, y, z = index[..., :3].astype(int).transpose(3, 0, 1, 2)
    drawn.slices = replace(drawn.slices, mask=truth[x, y, z])
    assert write_nifti(tmp_path / "m.nii.gz", drawn.slices) == ()
    mask = nibabel.load(tmp_path / "m.nii.gz")
    onto = SimpleITK.Resample(
        SimpleITK.ReadImage(str(SHARED / "ct_j2k_t11_t12" / "labels.nii.gz")),
        SimpleITK.ReadImage(str(tmp_path / "m.nii.gz")), SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor,
    )  # fmt: skip
    there = SimpleITK.GetArrayFromImage(onto).transpose(2, 1, 0)
    np.testing.assert_array_equal(np.asarray(mask.dataobj) == 1, there == 32)
    np.testing.assert_array_equal(np.asarray(mask.dataobj) == 2, there == 33)
    expected = {}
    for sop, where in drawn.original.items():
        ras = np.concatenate([where * [-1, -1, 1], np.ones((*where.shape[:2], 1))], axis=-1)
        x, y, z = np.rint(ras @ np.linalg.inv(label.affine).T)[..., :3].astype(int).transpose(2, 0, 1)
        expected[sop] = truth[x, y, z]
    for empty_frames in (False, True):
        assert_seg_is_the_mark(drawn, drawn.seg(tmp_path / "m.dcm", empty_frames), empty_frames, expected)


@needs
def test_a_real_tilted_series(tmp_path):
    shutil.copytree(SHARED / "ct_philips_tilt", tmp_path / "ct")
    for stray in ("DIRFILE", "LICENSE"):
        (tmp_path / "ct" / stray).unlink()
    drawn = Drawn(tmp_path / "ct", z_step=2)
    (note,) = write_nifti(tmp_path / "m.nii.gz", drawn.slices)
    assert "orthonormal" in note
    SimpleITK.ReadImage(str(tmp_path / "m.nii.gz"))
    kept = {round(float(h), 2): plane for plane, h in enumerate(_kept_heights(drawn))}
    expected = {}
    for sop, where in drawn.original.items():
        height = float(where[0, 0] @ _normal(drawn))
        nearest = min(kept, key=lambda h: (round(abs(h - height), 1), -h))
        expected[sop] = drawn.mask[kept[nearest]]
    assert_seg_is_the_mark(drawn, drawn.seg(tmp_path / "m.dcm"), False, expected)


def _normal(drawn):
    orientation = np.array(pydicom.dcmread(drawn.folder / "I10").ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    return normal if normal[2] > 0 else -normal


def _kept_heights(drawn):
    found = [float(where[0, 0] @ _normal(drawn)) for where in drawn.original.values()]
    return sorted(found, reverse=True)[::2]
