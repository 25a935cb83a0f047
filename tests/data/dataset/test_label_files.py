"""Label maps that are there count, or are named."""

from __future__ import annotations

import pytest

from spine_models.data.dataset.disk import DiskError
from spine_models.data.dataset.label_files import label_files, one_label_file, require_inside
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dataset.uids import study_id


def folder_of(dataset, *names: str):
    folder = dataset / "segmentations"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_which_studies_have_a_label_map(tmp_path) -> None:
    assert label_files(tmp_path) == {}
    folder = folder_of(
        tmp_path, "1.2.3.nii", "1.2.4.nii.GZ", "John Doe.nii", "._1.2.5.nii", "notes.txt", "1.2.6.NII", "1.2.7.mha",
        "1.2.8.hdr", "1.2.8.img", "1.2.9 .nii",
    )  # fmt: skip
    found = label_files(tmp_path)
    assert set(found) == {"1.2.3", "1.2.4", study_id("John Doe"), "1.2.6", "1.2.7", "1.2.8", "1.2.9"}
    assert one_label_file(found["1.2.4"]) == folder / "1.2.4.nii.GZ"
    assert one_label_file(found["1.2.6"]) == folder / "1.2.6.NII"


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".hdr", ".mgz"])
def test_other_formats_are_refused_with_the_command_that_converts_them(tmp_path, suffix) -> None:
    folder_of(tmp_path, f"1.2{suffix}")
    with pytest.raises(StudyRefused) as caught:
        one_label_file(label_files(tmp_path)["1.2"])
    assert caught.value.code == RefusalCode.LABEL_FORMAT
    assert f"ReadImage('IN{suffix}')" in caught.value.reason


def test_two_label_maps_of_one_study_are_refused(tmp_path) -> None:
    folder_of(tmp_path, "1.2.nii", "1.2.nii.gz")
    with pytest.raises(StudyRefused) as caught:
        one_label_file(label_files(tmp_path)["1.2"])
    assert caught.value.code == RefusalCode.LABEL_FORMAT
    assert ".nii and .nii.gz" in caught.value.reason


def test_a_nifti_file_counts_where_another_format_is_beside_it(tmp_path) -> None:
    folder = folder_of(tmp_path, "1.2.nii", "1.2.mha")
    assert one_label_file(label_files(tmp_path)["1.2"]) == folder / "1.2.nii"


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_label_map_outside_the_data_set_is_refused(tmp_path, whole_folder) -> None:
    dataset, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    elsewhere.mkdir()
    dataset.mkdir()
    (elsewhere / "1.2.nii").touch()
    if whole_folder:
        (dataset / "segmentations").symlink_to(elsewhere, target_is_directory=True)
    else:
        (dataset / "segmentations").mkdir()
        (dataset / "segmentations" / "1.2.nii").symlink_to(elsewhere / "1.2.nii")
    path = one_label_file(label_files(dataset)["1.2"])
    with pytest.raises(StudyRefused) as caught:
        require_inside(path, dataset)
    assert caught.value.code == RefusalCode.LINK_OUTSIDE


def test_a_folder_of_label_maps_that_is_not_mounted_is_not_one_without(tmp_path) -> None:
    (tmp_path / "segmentations").symlink_to(tmp_path / "unmounted", target_is_directory=True)
    with pytest.raises(DiskError, match=r"segmentations cannot be read .* see that the disk is mounted"):
        label_files(tmp_path)
