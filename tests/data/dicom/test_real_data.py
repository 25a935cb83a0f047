"""Real CT and the challenge's metadata, where a checkout has them beside it; they are not part of the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from benchmarks.replay_geometries import read_geometries, replay
from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.file import UnreadableFileError
from spine_models.data.dicom.headers import read_headers
from spine_models.data.dicom.pixels import read_hounsfield
from spine_models.data.dicom.series import aside_because
from spine_models.data.dicom.study import VolumeSettings, open_study, read_study
from spine_models.data.labels.grids import grid_difference
from spine_models.data.labels.nifti import LabelSettings, read_label
from spine_models.data.labels.onto_grid import onto_grid
from spine_models.levels import LEVELS

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"
needs = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/data is not there")
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
T12 = 32


@needs
@pytest.mark.parametrize(("z_step", "expected"), [(1, 267.0), (2, 267.1)])
def test_labels_meet_the_vertebra_that_they_are_of(z_step, expected) -> None:
    """Flipping any axis gives 110, -273 or 195 HU."""
    folder = SHARED / "ct_j2k_t11_t12"
    study = read_study(folder / "dicom", VolumeSettings(z_step, 256))
    label = read_label(
        folder / "labels.nii.gz",
        LabelSettings(label_numbers={level: T12 + place for place, level in enumerate(LEVELS)}),
    )
    affine = np.array(study.facts.affine_lps)
    sampled = onto_grid(label, affine, study.full.shape)
    assert sampled.inside.all()
    assert grid_difference(label.affine_lps, affine, study.full.shape) < 1e-3
    assert study.full[sampled.values == 1].mean() == pytest.approx(expected, abs=0.1)


@needs
def test_a_study_without_uids_is_named_by_its_content() -> None:
    folder = SHARED / "ct_j2k_t11_t12" / "dicom"
    assert open_study(folder, folder, VolumeSettings()).study_uid.startswith("study-")


@needs
def test_a_tilted_head_scan_with_strays() -> None:
    folder = SHARED / "ct_philips_tilt"
    source = open_study(folder, folder, VolumeSettings(1, 256))
    assert [header.name for header in source.grid.headers] == [f"I{number}0" for number in range(54, 0, -1)]
    assert {(item.name, item.why) for item in source.selection.left_out} == {
        ("DIRFILE", "no image"), ("LICENSE", "not DICOM"),
    }  # fmt: skip
    assert source.grid.tilt_degrees == pytest.approx(18.5, abs=0.01)
    assert source.grid.spacing == pytest.approx((2.371, 0.482, 0.482), abs=1e-3)
    for index, header in enumerate(source.grid.headers):
        assert source.grid.affine @ [index, 0, 0, 1] == pytest.approx([*header.position, 1], abs=1e-4)
    last_row = np.array(source.grid.headers[0].position) + 511 * 0.482421875 * np.array([0, 0.9483237, -0.3173047])
    assert source.grid.affine @ [0, 511, 0, 1] == pytest.approx([*last_row, 1], abs=1e-3)


@needs
def test_geometries_of_the_challenge() -> None:
    """All odd studies and a sample of the others; ``python -m benchmarks.replay_geometries`` replays all 2,019."""
    geometries = list(read_geometries(SHARED / "rsna_geometry"))
    assert len(geometries) == 2019
    chosen = [g for g in geometries if g.odd] + [g for g in geometries if not g.odd][::300]
    outcomes = {outcome.study.rsplit(".", 1)[1]: outcome for outcome in map(_replay, chosen)}
    assert {study: outcome.wrong for study, outcome in outcomes.items() if outcome.wrong} == {}
    assert outcomes["20756"].slices == 541
    assert (
        "541 slices of another pass at the same positions left out, told apart by the order of instance numbers"
        in outcomes["20756"].notes
    )
    for study in ("24673", "29630"):
        assert any("irregular steps" in note for note in outcomes[study].notes)
    for study in ("23400", "29872", "8362", "8693"):
        assert any("gantry tilt" in note for note in outcomes[study].notes)


def _replay(geometry):
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        return replay(geometry, Path(scratch))


CT_TEST_FILES = {
    "CT_small.dcm": None,
    "J2K_pixelrep_mismatch.dcm": None,
    "693_J2KI.dcm": None,
    "693_J2KR.dcm": None,
    "693_UNCI.dcm": None,
    "693_UNCR.dcm": None,
    "bad_sequence.dcm": None,
    "explicit_VR-UN.dcm": None,
}


@pytest.mark.parametrize("name", CT_TEST_FILES)
def test_bundled_ct_files_have_the_hounsfield_units_that_pydicom_gives(name) -> None:
    path = TEST_FILES / name
    if not path.is_file():
        pytest.skip("not among the files that this pydicom brings")
    (header,) = read_headers(path.parent, StudyFile(name, path.stat().st_size, 0))
    assert aside_because(header) is None
    dataset = pydicom.dcmread(path)
    expected = np.rint(dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept))
    if header.padding is not None:
        expected[(dataset.pixel_array >= header.padding[0]) & (dataset.pixel_array <= header.padding[1])] = -1000
    assert np.array_equal(read_hounsfield(path.parent, header), expected)


def test_everything_else_that_pydicom_bundles_is_set_aside_or_refused() -> None:
    """MR, ultrasound, radiotherapy objects, secondary captures, directories, truncated and malformed files."""
    unexpected = []
    for path in sorted(TEST_FILES.rglob("*")):
        if not path.is_file() or path.name in CT_TEST_FILES or "dicomdirtests" in path.parts:
            continue
        try:
            header = read_headers(path.parent, StudyFile(path.name, path.stat().st_size, 0))[0]
        except UnreadableFileError:
            continue
        if aside_because(header) is None:
            unexpected.append(path.name)
    assert unexpected == []


@pytest.mark.parametrize("folder", ["98892001", "98892003", "77654033"])
def test_bundled_folders_of_several_patients_series_and_kinds(folder) -> None:
    path = TEST_FILES / "dicomdirtests" / folder
    if not path.is_dir():
        pytest.skip("not among the files that this pydicom brings")
    try:
        study = read_study(path, VolumeSettings(1, 16))
    except StudyRefused as refusal:
        assert refusal.code in (RefusalCode.NO_CT, RefusalCode.TOO_FEW_SLICES, RefusalCode.SLICES_MISSING)
    else:
        assert len(study.full) > 1
