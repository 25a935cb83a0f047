from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from spine_models.data.dataset.layout import list_files
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.series import LeftOut, Selection, read_folder, select
from tests.data.dicom_builder import encoded, make_slice, ramp, write_stack

CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
MR = "1.2.840.10008.5.1.4.1.1.4"


def selected(folder) -> Selection:
    return select(*read_folder(folder, list_files(folder, folder, allow_symlinks=False)))[0]


def refusal(folder) -> StudyRefused:
    with pytest.raises(StudyRefused) as caught:
        selected(folder)
    return caught.value


def names(selection: Selection) -> set[str]:
    return {header.name for header in selection.headers}


STRAYS = {
    "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "secondary capture": {"SOPClassUID": SECONDARY},
    "other modality": {"Modality": "MR"},
    "projection": {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
    "not Hounsfield units": {"RescaleType": "Z_EFF"},
    "colour": {"PhotometricInterpretation": "PALETTE COLOR"},
}


@pytest.mark.parametrize("why", STRAYS)
def test_strays_are_set_aside_and_named(tmp_path, why) -> None:
    write_stack(tmp_path, count=3)
    write_stack(tmp_path, count=9, name="stray{}".format, SeriesInstanceUID="1.9", **STRAYS[why])
    selection = selected(tmp_path)
    assert names(selection) == {"0.dcm", "1.dcm", "2.dcm"}
    assert selection.left_out == [LeftOut(f"stray{i}", why) for i in range(9)]
    assert selection.notes == [f"9 files left out: {why}"]


def test_an_mr_object_without_modality_is_known_by_its_class(tmp_path) -> None:
    write_stack(tmp_path, SOPClassUID=MR)
    assert refusal(tmp_path).code == RefusalCode.NO_CT


def test_a_genuine_ct_object_with_a_conversion_type_is_read(tmp_path) -> None:
    write_stack(tmp_path, SOPClassUID=CT, ConversionType="DV")
    assert len(selected(tmp_path).headers) == 6


@pytest.mark.parametrize("kind", ["HU", "US"])
def test_an_unspecified_rescale_type_is_read(tmp_path, kind) -> None:
    """US is what converters write who do not know better."""
    write_stack(tmp_path, RescaleType=kind)
    assert len(selected(tmp_path).headers) == 6


def test_rgb_screens_are_set_aside(tmp_path) -> None:
    write_stack(tmp_path)
    screen = make_slice(np.zeros((6, 5), "u1"), SamplesPerPixel=3, PhotometricInterpretation="RGB")
    (tmp_path / "screen").write_bytes(encoded(screen))
    assert selected(tmp_path).left_out == [LeftOut("screen", "colour")]


def test_files_that_are_no_images_are_set_aside(tmp_path) -> None:
    write_stack(tmp_path)
    (tmp_path / "LICENSE").write_text("text")
    (tmp_path / "empty").touch()
    directory = Dataset()
    directory.StudyInstanceUID = "1.2.3"
    (tmp_path / "DICOMDIR").write_bytes(encoded(directory))
    (tmp_path / "torn").write_bytes((tmp_path / "0.dcm").read_bytes()[:300])
    whys = {item.name: item.why for item in selected(tmp_path).left_out}
    assert whys.pop("torn") in ("no image", "damaged")
    assert whys == {"LICENSE": "not DICOM", "empty": "not DICOM", "DICOMDIR": "no image"}


def test_tags_that_the_challenge_lacks_are_no_reason_to_refuse(tmp_path) -> None:
    for dataset in write_stack(tmp_path):
        for keyword in ("Modality", "SOPClassUID", "ImageType", "PatientPosition", "PixelPaddingValue"):
            assert keyword not in dataset
    assert len(selected(tmp_path).headers) == 6


@pytest.mark.parametrize(
    "tag", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber", "PatientID"]
)
def test_further_tags_that_may_be_missing(tmp_path, tag) -> None:
    write_stack(tmp_path, **{tag: None})
    assert len(selected(tmp_path).headers) == 6


def test_the_axial_stack_with_the_most_slices_wins(tmp_path) -> None:
    write_stack(tmp_path, count=5, name="few{}".format, SeriesInstanceUID="1.1")
    write_stack(tmp_path, count=7, name="many{}".format, SeriesInstanceUID="1.2")
    write_stack(
        tmp_path, count=20, name="side{}".format, SeriesInstanceUID="1.3", step=(1, 0, 0),
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )  # fmt: skip
    selection = selected(tmp_path)
    assert names(selection) == {f"many{i}" for i in range(7)}
    assert {(item.name[:4], item.why) for item in selection.left_out} == {("few0", "other series, fewer slices"), *(
        (f"few{i}", "other series, fewer slices") for i in range(5)), ("side", "not axial")}  # fmt: skip


def test_repeated_positions_do_not_count_as_slices(tmp_path) -> None:
    write_stack(tmp_path, count=5, name="a{}".format, SeriesInstanceUID="1.1")
    write_stack(tmp_path, count=5, name="b{}".format, SeriesInstanceUID="1.1", instance=lambda i: i + 6)
    write_stack(tmp_path, count=6, name="c{}".format, SeriesInstanceUID="1.2")
    assert names(selected(tmp_path)) == {f"c{i}" for i in range(6)}


@pytest.mark.parametrize("swap", [False, True])
def test_a_tie_does_not_depend_on_names(tmp_path, swap) -> None:
    one, two = ("b{}", "a{}") if swap else ("a{}", "b{}")
    write_stack(tmp_path, name=one.format, SeriesInstanceUID="1.5", SeriesNumber=3)
    write_stack(tmp_path, name=two.format, SeriesInstanceUID="1.4", SeriesNumber=4, pixels=lambda i: ramp(i) + 7)
    assert {header.series_uid for header in selected(tmp_path).headers} == {"1.5"}


def test_series_in_folders_of_their_own(tmp_path) -> None:
    write_stack(tmp_path / "S1", count=4, SeriesInstanceUID="1.1")
    write_stack(tmp_path / "deeper" / "S2", count=6, SeriesInstanceUID="1.2")
    assert names(selected(tmp_path)) == {f"deeper/S2/{i}.dcm" for i in range(6)}


def test_two_matrix_sizes_in_one_series_are_two_stacks(tmp_path) -> None:
    write_stack(tmp_path, count=4, name="small{}".format, pixels=lambda i: ramp(i, (4, 4)))
    write_stack(tmp_path, count=6, name="large{}".format, pixels=lambda i: ramp(i, (8, 8)))
    assert names(selected(tmp_path)) == {f"large{i}" for i in range(6)}


def test_two_spacings_in_one_series_are_two_stacks_but_rounding_is_not(tmp_path) -> None:
    write_stack(tmp_path, count=6, PixelSpacing=lambda i: [0.48249, 0.48249] if i % 2 else [0.4825, 0.4825])
    write_stack(tmp_path, count=4, name="zoom{}".format, PixelSpacing=[0.3, 0.3])
    assert names(selected(tmp_path)) == {f"{i}.dcm" for i in range(6)}


def test_two_studies_in_one_folder_are_not_mixed(tmp_path) -> None:
    write_stack(tmp_path, count=4, name="a{}".format, StudyInstanceUID="1.2.1")
    write_stack(tmp_path, count=5, name="b{}".format, StudyInstanceUID="1.2.2", start=(-10, -20, 96))
    assert names(selected(tmp_path)) == {f"b{i}" for i in range(5)}


def test_two_patients_in_one_study_are_refused(tmp_path) -> None:
    write_stack(tmp_path, count=4, name="a{}".format, PatientID="SMITH")
    write_stack(tmp_path, count=5, name="b{}".format, PatientID="2", start=(-10, -20, 96))
    refused = refusal(tmp_path)
    assert refused.code == RefusalCode.SEVERAL_PATIENTS
    assert "SMITH" not in refused.reason


@pytest.mark.parametrize("other", ["", " 271 ", "ANONYMOUS", "0000"])
def test_a_patient_id_that_says_nothing_is_no_second_patient(tmp_path, other) -> None:
    write_stack(tmp_path, PatientID=lambda i: other if i % 2 else "271")
    assert len(selected(tmp_path).headers) == 6


def test_one_slice_of_another_orientation_does_not_make_a_stack_curved(tmp_path) -> None:
    write_stack(tmp_path, ImageOrientationPatient=lambda i: [1, 0, 0, 0, 1, 0.1 * (i == 3)])
    assert names(selected(tmp_path)) == {f"{i}.dcm" for i in range(6) if i != 3}


def test_slabs_at_different_angles_are_different_stacks(tmp_path) -> None:
    """Discs of the lumbar spine are scanned like this: one series, a tilt for each disc."""
    for number, angle in enumerate(np.radians([0, 15, 30])):
        column = [0, float(np.cos(angle)), float(np.sin(angle))]
        write_stack(
            tmp_path, count=3 + number, name=f"slab{number} {{}}".format, ImageOrientationPatient=[1, 0, 0, *column],
            step=(0, float(np.sin(angle)), -float(np.cos(angle))), start=(0, 0, 100 - 20 * number),
            instance=lambda i, number=number: number * 10 + i,
        )  # fmt: skip
    assert names(selected(tmp_path)) == {f"slab2 {i}" for i in range(5)}


def test_codes_when_nothing_is_left(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").code == RefusalCode.NO_IMAGES
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a").write_text("text")
    assert refusal(tmp_path / "text").code == RefusalCode.NO_IMAGES
    write_stack(tmp_path / "mr", Modality="MR")
    refused = refusal(tmp_path / "mr")
    assert refused.code == RefusalCode.NO_CT
    assert "6 other modality" in refused.reason


def test_reasons_name_no_file(tmp_path) -> None:
    """File names may be a person's."""
    write_stack(tmp_path, name="JOHN SMITH {}".format, Modality="MR")
    assert "SMITH" not in refusal(tmp_path).reason


def test_an_archive_is_called_one(tmp_path) -> None:
    (tmp_path / "s.zip").write_bytes(b"PK\x03\x04 and so on")
    (tmp_path / "1.dcm.gz").write_bytes(b"\x1f\x8b and so on")
    refused = refusal(tmp_path)
    assert refused.code == RefusalCode.NO_IMAGES
    assert refused.reason == "no CT slice in the folder: 2 archive: unpack it"


def test_a_sequence_longer_than_its_length_says_is_damage_and_not_a_missing_image(tmp_path) -> None:
    """Lengths that under-count an encapsulated icon leave its items where elements should be."""
    slice_ = make_slice(ramp(1))
    icon = Dataset()
    icon.Rows, icon.Columns = 2, 2
    slice_.IconImageSequence = [icon]
    data = bytearray(encoded(slice_))
    at = data.find(b"\x88\x00\x00\x02SQ\x00\x00")
    length = int.from_bytes(data[at + 8 : at + 12], "little")
    data[at + 8 : at + 12] = (0).to_bytes(4, "little")
    assert length > 0
    (tmp_path / "1").write_bytes(data)
    assert "1 damaged" in refusal(tmp_path).reason
