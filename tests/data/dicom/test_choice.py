"""Which series of a study is read: most slices is not a reason."""

from __future__ import annotations

from functools import partial

import pytest

from spine_models.data.dataset.layout import list_files
from spine_models.data.dicom.choice import Choose, for_the_neck, most_slices, the_series
from spine_models.data.dicom.study import StudySource, open_candidates
from tests.data.dicom_builder import write_stack

NECK = {"count": 88, "step": (0, 0, -1.5), "SeriesInstanceUID": "1.2.1", "SeriesNumber": 1, "SliceThickness": 1.5}


def other(folder, **tags) -> None:
    """A series that is the neck's but for ``tags``."""
    write_stack(folder, name="other{}".format, **{**NECK, "SeriesInstanceUID": "1.2.2", "SeriesNumber": 2, **tags})


def candidates(folder, choose: Choose = for_the_neck) -> list[StudySource]:
    return open_candidates(folder, list_files(folder, folder, allow_symlinks=False), choose)


def series(source: StudySource) -> str:
    return source.grid.headers[0].series_uid


WORSE = {
    "derived from other images": {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]},
    "thicker slices": {"SliceThickness": 3.0},
    "a softer kernel": {"ConvolutionKernel": "B30f"},
    "90 mm tall": {"count": 181, "step": (0, 0, -0.5), "SliceThickness": 0.5},
}


@pytest.mark.parametrize("why", WORSE)
@pytest.mark.parametrize("earlier", [True, False])
def test_a_better_reconstruction_is_read_and_the_record_says_why(tmp_path, why, earlier) -> None:
    write_stack(tmp_path, **NECK, ConvolutionKernel="B60f")
    other(tmp_path, **({"ConvolutionKernel": "B60f"} | WORSE[why] | {"SeriesNumber": 0 if earlier else 2}))
    (source,) = candidates(tmp_path)
    assert series(source) == "1.2.1"
    first, second = source.selection.series
    assert (first.series, first.kernel, first.slices, first.why_not) == ("1.2.1", "B60f", 88, "")
    assert (second.series, second.why_not) == ("1.2.2", why)
    assert f"other series, {why}" in " ".join(source.selection.notes)


def test_small_differences_of_thickness_do_not_count(tmp_path) -> None:
    write_stack(tmp_path, **NECK, ConvolutionKernel="BONE")
    other(tmp_path, SliceThickness=1.4, ConvolutionKernel="STANDARD")
    assert series(candidates(tmp_path)[0]) == "1.2.1"


@pytest.mark.parametrize(
    ("sharp", "soft"),
    [("B60f", "B31f"), ("Br64d\\3", "Br40d\\3"), ("BONEPLUS", "STANDARD"), ("FC30", "FC18"), ("YC", "B"), ("E", "A")],
)
def test_kernels_of_the_makers(tmp_path, sharp, soft) -> None:
    write_stack(tmp_path, **NECK, ConvolutionKernel=sharp.split("\\"))
    other(tmp_path, SeriesNumber=0, count=90, ConvolutionKernel=soft.split("\\"))
    (source,) = candidates(tmp_path)
    assert series(source) == "1.2.1"


def test_a_chest_with_more_slices_is_left_to_the_mask(tmp_path) -> None:
    write_stack(tmp_path, **NECK, BodyPartExamined="CSPINE")
    other(tmp_path, count=127, SeriesDescription="Thorax 1.5", start=(-10, -20, -50))
    assert [series(source) for source in candidates(tmp_path)] == ["1.2.2", "1.2.1"]


def test_stacks_that_nothing_but_their_number_of_slices_tells_apart_are_left_to_the_mask(tmp_path) -> None:
    write_stack(tmp_path, **NECK)
    other(tmp_path, count=127, start=(-10, -20, -50))
    assert [series(source) for source in candidates(tmp_path)] == ["1.2.2", "1.2.1"]


def test_words_settle_a_tie_and_nothing_else(tmp_path) -> None:
    write_stack(tmp_path, **NECK, ProtocolName="HWS")
    other(tmp_path, SeriesNumber=0, SeriesDescription="ABDOMEN")
    assert series(candidates(tmp_path)[0]) == "1.2.1"
    assert len(candidates(tmp_path)) == 1


@pytest.mark.parametrize(("uid", "read"), [("1.2.2", "1.2.2"), ("1.2.99", "1.2.1")])
def test_a_series_that_a_person_chose_is_read_where_it_is(tmp_path, uid, read) -> None:
    write_stack(tmp_path, **NECK, ConvolutionKernel="B60f")
    other(tmp_path, count=12, ConvolutionKernel="B30f")
    sources = candidates(tmp_path, partial(the_series, uid))
    assert [series(source) for source in sources] == [read]


def test_a_data_set_is_read_as_the_challenge_is_and_names_the_alternatives(tmp_path) -> None:
    write_stack(tmp_path, **NECK)
    other(tmp_path, count=90, ConvolutionKernel="B30f")
    (source,) = candidates(tmp_path, most_slices)
    assert series(source) == "1.2.2"
    assert "88 files left out: other series, fewer slices" in source.selection.notes


def test_no_free_text_of_a_header_is_in_the_facts(tmp_path) -> None:
    write_stack(tmp_path, **NECK, SeriesDescription="SMITH NECK", ConvolutionKernel="B60 <JO^HN>")
    assert "SMITH" not in str(candidates(tmp_path)[0].selection.series)
    assert "<" not in str(candidates(tmp_path)[0].selection.series)
