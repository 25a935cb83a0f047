from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.codestream import codestream_facts
from spine_models.data.dicom.file import UnreadableFileError
from spine_models.data.dicom.headers import SliceHeader, read_headers
from spine_models.data.dicom.pixels import check_claims, is_lossy, read_hounsfield
from tests.data.dicom_builder import NINE_LOSSLESS, encoded, enhanced, make_slice, ramp

ANATOMY = np.random.default_rng(5).integers(-1024, 3072, (68, 64)).astype("<i2")


def headers_of(tmp_path, data: bytes) -> list[SliceHeader]:
    (tmp_path / "1.dcm").write_bytes(data)
    return read_headers(tmp_path, StudyFile("1.dcm", len(data), 0))


def hounsfield(tmp_path, data: bytes) -> np.ndarray:
    return read_hounsfield(tmp_path, headers_of(tmp_path, data)[0])


def refusal(tmp_path, data: bytes) -> RefusalCode:
    with pytest.raises(StudyRefused) as caught:
        hounsfield(tmp_path, data)
    return caught.value.code


@pytest.mark.parametrize("syntax", NINE_LOSSLESS)
@pytest.mark.parametrize("signed", [True, False])
def test_every_lossless_syntax_gives_the_same_hounsfield_units(tmp_path, syntax, signed) -> None:
    stored = ANATOMY if signed else (ANATOMY + 1024).astype("<u2")
    tags = {"RescaleIntercept": 0} if signed else {"RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}
    assert np.array_equal(hounsfield(tmp_path, encoded(make_slice(stored, **tags), syntax)), ANATOMY)


@pytest.mark.parametrize("syntax", NINE_LOSSLESS)
def test_signed_values_of_twelve_stored_bits_keep_their_sign(tmp_path, syntax) -> None:
    stored = np.clip(ANATOMY, -2048, 2047).astype("<i2")
    dataset = make_slice(stored, BitsStored=12, HighBit=11)
    assert np.array_equal(hounsfield(tmp_path, encoded(dataset, syntax)), stored)


def test_bits_above_the_stored_ones_are_no_part_of_the_value(tmp_path) -> None:
    values = np.arange(30, dtype="<u2").reshape(6, 5)
    with_overlay = (values | 0xA000).astype("<u2")
    assert np.array_equal(hounsfield(tmp_path, encoded(make_slice(with_overlay, BitsStored=12, HighBit=11))), values)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_bits_below_the_lowest_stored_one_are_no_part_of_the_value(tmp_path, syntax) -> None:
    values = np.arange(30, dtype="<u2").reshape(6, 5)
    shifted = ((values << 4) | 0x7).astype("<u2")
    assert np.array_equal(hounsfield(tmp_path, encoded(make_slice(shifted, BitsStored=12, HighBit=15), syntax)), values)


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4", "i1", "<i4"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_pixels_of_8_16_and_32_bits(tmp_path, dtype, syntax) -> None:
    values = (np.arange(35).reshape(7, 5) * 3).astype(dtype)
    assert np.array_equal(hounsfield(tmp_path, encoded(make_slice(values), syntax)), values)


@pytest.mark.parametrize("values", [np.arange(n * 5).reshape(n, 5) for n in (6, 7, 9)])
def test_8_bit_pixels_in_big_endian_words(tmp_path, values) -> None:
    dataset = make_slice(values.astype("u1"))
    raw = dataset.PixelData
    dataset.PixelData = np.frombuffer(raw, "<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    assert np.array_equal(hounsfield(tmp_path, encoded(dataset, ExplicitVRBigEndian)), values)


def test_fractional_rescale_is_rounded_and_clipped_to_int16(tmp_path) -> None:
    stored = np.array([[0, 1, 2, 3, 40000, 65535]], dtype="<u2")
    dataset = make_slice(stored, RescaleSlope="0.5", RescaleIntercept="-1024.5")
    assert hounsfield(tmp_path, encoded(dataset)).tolist() == [[-1024, -1024, -1024, -1023, 18976, 31743]]
    assert hounsfield(tmp_path, encoded(dataset)).dtype == np.int16
    dataset = make_slice(stored, RescaleSlope="2", RescaleIntercept="-70000")
    assert hounsfield(tmp_path, encoded(dataset)).tolist() == [[-32768, -32768, -32768, -32768, 10000, 32767]]


@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", "<i2", ">u2", "<u4", "<i4"])
@pytest.mark.parametrize(
    ("slope", "intercept"),
    [(1, 0), (1, -1024), (2, -1024), (-1, 5), (-3, 70000), (10000, -1000000), (1, 32767), (0.5, 0), (1, -0.5)],
)
def test_whole_rescales_are_those_of_real_numbers(tmp_path, kind, slope, intercept) -> None:
    limits = np.iinfo(kind)
    few = np.arange(-40, 41).clip(limits.min, limits.max)
    many = np.linspace(limits.min, limits.max, 81, dtype=np.int64)
    for values in (few, many):
        stored = values.reshape(9, 9).astype(kind)
        syntax = ExplicitVRBigEndian if kind.startswith(">") else ExplicitVRLittleEndian
        dataset = make_slice(stored.astype(kind.replace(">", "<")), RescaleSlope=slope, RescaleIntercept=intercept)
        expected = np.clip(np.rint(stored.astype(np.float64) * slope + intercept), -32768, 32767)
        found = hounsfield(tmp_path, encoded(dataset, syntax))
        assert found.dtype == np.int16
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("slope", "expected"), [(" 1.0e+00 ", 1.0), ("+1", 1.0), ("0001.5000", 1.5), ("1.500000000000000000000", 1.5)]
)
def test_unusual_decimal_strings_are_read(tmp_path, slope, expected) -> None:
    dataset = make_slice(ramp(1))
    data = with_slope(encoded(dataset), slope)
    assert np.array_equal(hounsfield(tmp_path, data), np.rint(ramp(1) * expected))


def with_slope(data: bytes, text: str) -> bytes:
    value = (text + " " * (len(text) % 2)).encode()
    old = b"\x28\x00\x53\x10DS\x04\x001.0 "
    assert old in data
    return data.replace(old, old[:6] + len(value).to_bytes(2, "little") + value)


@pytest.mark.parametrize("slope", ["1,5", "nan", "inf", "0", "one", "1e999", "0x10", "1_0"])
def test_a_slope_that_is_no_number_is_refused(tmp_path, slope) -> None:
    data = with_slope(encoded(make_slice(ramp(1))), slope)
    assert refusal(tmp_path, data) == RefusalCode.RESCALE_INVALID


def test_a_missing_rescale_is_refused(tmp_path) -> None:
    assert refusal(tmp_path, encoded(make_slice(ramp(1), RescaleSlope=None))) == RefusalCode.RESCALE_INVALID
    assert refusal(tmp_path, encoded(make_slice(ramp(1), RescaleIntercept=None))) == RefusalCode.RESCALE_INVALID


def test_padding_becomes_air(tmp_path) -> None:
    stored = np.array([[-2000, -1999, 5, 7]], dtype="<i2")
    data = encoded(make_slice(stored, PixelPaddingValue=-2000))
    assert hounsfield(tmp_path, data).tolist() == [[-1000, -1999, 5, 7]]
    data = encoded(make_slice(stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990))
    assert hounsfield(tmp_path, data).tolist() == [[-1000, -1000, 5, 7]]


def test_padding_outside_the_stored_bits_is_found(tmp_path) -> None:
    stored = np.array([[0xF830, 0x0010]], dtype="<u2")
    dataset = make_slice(stored, BitsStored=12, HighBit=11, PixelPaddingValue=0xF830)
    assert hounsfield(tmp_path, encoded(dataset)).tolist() == [[-1000, 16]]


def test_without_padding_tags_no_value_is_padding(tmp_path) -> None:
    stored = np.array([[-2048, -2000]], dtype="<i2")
    assert hounsfield(tmp_path, encoded(make_slice(stored))).tolist() == [[-2048, -2000]]


def test_monochrome1_does_not_change_hounsfield_units(tmp_path) -> None:
    dataset = make_slice(ANATOMY, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(hounsfield(tmp_path, encoded(dataset)), ANATOMY)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_files_without_preamble_and_meta_header(tmp_path, syntax) -> None:
    data = encoded(make_slice(ANATOMY), syntax, preamble=False)
    assert data[128:132] != b"DICM"
    assert np.array_equal(hounsfield(tmp_path, data), ANATOMY)


@pytest.mark.parametrize("syntax", NINE_LOSSLESS[4:])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(tmp_path, syntax) -> None:
    data = encoded(make_slice(ANATOMY), syntax)
    rows = b"\x28\x00\x10\x00US\x02\x00"
    data = data.replace(rows + b"\x44\x00", rows + b"\x40\x00")
    assert refusal(tmp_path, data) == RefusalCode.PIXELS_DAMAGED


def test_a_gigantic_codestream_is_refused_before_memory_is_taken(tmp_path) -> None:
    data = encoded(make_slice(ANATOMY), JPEG2000Lossless)
    at = data.index(b"\xff\x4f\xff\x51")
    huge = (1 << 31).to_bytes(4, "big")
    data = data[: at + 8] + huge + huge + data[at + 16 :]
    assert refusal(tmp_path, data) == RefusalCode.PIXELS_DAMAGED


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, RLELossless])
def test_truncated_pixels_are_refused(tmp_path, syntax) -> None:
    data = encoded(make_slice(ANATOMY), syntax)
    start = data.index(b"\xe0\x7f\x10\x00")
    assert refusal(tmp_path, data[: start + (len(data) - start) // 3]) == RefusalCode.PIXELS_DAMAGED


def test_j2k_with_unsigned_codestream_and_signed_header(tmp_path) -> None:
    """The codestream holds two's complement patterns as unsigned numbers: the header's sign wins, as in pydicom."""
    data = encoded(make_slice(ANATOMY.view("<u2")), JPEG2000Lossless)
    tag = b"\x28\x00\x03\x01US\x02\x00"
    assert np.array_equal(hounsfield(tmp_path, data.replace(tag + b"\0\0", tag + b"\1\0")), ANATOMY)


def test_a_codestream_whose_values_need_more_bits_than_the_header_says_is_refused(tmp_path) -> None:
    tag, high = b"\x28\x00\x01\x01US\x02\x00", b"\x28\x00\x02\x01US\x02\x00"

    def with_12_bits(values: np.ndarray) -> bytes:
        data = encoded(make_slice(values), JPEGLosslessSV1)
        return data.replace(tag + b"\x10\0", tag + b"\x0c\0").replace(high + b"\x0f\0", high + b"\x0b\0")

    values = (np.arange(192).reshape(16, 12) * 21).astype("<u2")
    assert np.array_equal(hounsfield(tmp_path, with_12_bits(values)), values)
    assert refusal(tmp_path, with_12_bits(values + 500)) == RefusalCode.PIXELS_DAMAGED


def test_lossy_syntaxes_are_told_apart(tmp_path) -> None:
    assert not is_lossy(headers_of(tmp_path, encoded(make_slice(ANATOMY), RLELossless))[0])
    assert is_lossy(headers_of(tmp_path, encoded(make_slice(ANATOMY, LossyImageCompression="01")))[0])
    dataset = make_slice((ANATOMY + 1024).astype("<u2"), BitsStored=12, HighBit=11)
    assert is_lossy(headers_of(tmp_path, encoded(dataset, JPEGLSNearLossless))[0])


def test_an_unknown_transfer_syntax_is_refused(tmp_path) -> None:
    data = encoded(make_slice(ANATOMY), RLELossless)
    data = data.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.9.9.5\0")
    assert refusal(tmp_path, data) == RefusalCode.PIXELS_UNSUPPORTED


def test_floating_point_and_odd_bit_depths_are_refused(tmp_path) -> None:
    dataset = make_slice(ramp(1))
    del dataset.PixelData
    dataset.FloatPixelData = np.zeros(30, "<f4").tobytes()
    assert refusal(tmp_path, encoded(dataset)) == RefusalCode.PIXELS_UNSUPPORTED
    assert refusal(tmp_path, encoded(make_slice(ramp(1), BitsAllocated=12))) == RefusalCode.PIXELS_UNSUPPORTED
    assert refusal(tmp_path, encoded(make_slice(ramp(1), HighBit=3))) == RefusalCode.PIXELS_UNSUPPORTED


@pytest.mark.parametrize(
    "tag",
    ["SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation", "BitsAllocated", "BitsStored", "HighBit"],
)
def test_pixels_without_description_are_refused(tmp_path, tag) -> None:
    assert refusal(tmp_path, encoded(make_slice(ANATOMY, **{tag: None}))) == RefusalCode.PIXELS_UNSUPPORTED


def test_an_element_of_the_wrong_kind_counts_as_absent(tmp_path) -> None:
    """A flipped bit in the VR: what the bytes mean is no longer known."""
    data = encoded(make_slice(ANATOMY))
    tag = b"\x28\x00\x53\x10"
    assert tag + b"DS" in data
    for kind in (b"US", b"D\x13", b"FL"):
        assert refusal(tmp_path, data.replace(tag + b"DS", tag + kind)) == RefusalCode.RESCALE_INVALID


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"OW\0\0", b"\xff" * 4), (b"OW\0\0", b"FD\0\0"), (b"OW\0\0\x00\x22\0\0", b"OW\0\0\xff\xff\xff\xff")],
)
def test_pixel_data_with_a_damaged_beginning_are_refused(tmp_path, old, new) -> None:
    data = encoded(make_slice(ANATOMY))
    tag = b"\xe0\x7f\x10\x00"
    assert tag + old in data
    with pytest.raises((StudyRefused, UnreadableFileError)):
        hounsfield(tmp_path, data.replace(tag + old, tag + new))


def test_a_deflated_data_set_that_is_cut_off_is_refused(tmp_path) -> None:
    data = encoded(make_slice(ANATOMY), DeflatedExplicitVRLittleEndian)
    with pytest.raises(UnreadableFileError, match="cut off"):
        headers_of(tmp_path, data[:-30])


def test_what_is_no_dicom_is_told_from_damaged_dicom(tmp_path) -> None:
    for junk in (b"", b"hello", b"PK\x03\x04" + bytes(4000), b"\x08\x00" * 3, b"\0" * 5000):
        with pytest.raises(UnreadableFileError):
            headers_of(tmp_path, junk)


def test_the_header_of_a_codestream(tmp_path) -> None:
    for syntax, precision in ((JPEG2000Lossless, 16), (JPEGLosslessSV1, 16)):
        data = encoded(make_slice(ANATOMY), syntax)
        at = max(data.rfind(b"\xff\x4f\xff\x51"), data.find(b"\xff\xd8\xff"))
        facts = codestream_facts(data[at:])
        assert facts is not None
        assert (facts.rows, facts.columns, facts.components, facts.precision) == (68, 64, 1, precision)
    assert codestream_facts(b"\xff\xd8\xff") is None
    assert codestream_facts(b"nonsense") is None


def test_the_reader_never_asks_for_names_or_dates() -> None:
    """The time of day tells passes apart, and is compared only."""
    from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

    from spine_models.data.dicom.headers import TAGS

    for tag in set(TAGS) - {tag_for_keyword("AcquisitionTime")}:
        assert dictionary_VR(tag) not in ("PN", "DA", "DT", "TM", "LT", "ST", "UT"), keyword_for_tag(tag)


def test_dataset_without_pixels_has_no_offset(tmp_path) -> None:
    dataset = Dataset()
    dataset.StudyInstanceUID = "1.2.3"
    assert headers_of(tmp_path, encoded(dataset))[0].pixel_offset is None


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"rows": 4097}, "too_large", "a slice claims 4097 x 5 pixels; 4096 is the limit"),
        ({"columns": 4097}, "too_large", "a slice claims 6 x 4097 pixels; 4096 is the limit"),
        ({"rows": 81}, "pixels_unsupported", "slices are more than 16 times as long as they are wide"),
        ({"rows": 0}, "pixels_unsupported", "slices are more than 16 times as long as they are wide"),
        ({"float_pixels": True}, "pixels_unsupported", "16-bit pixels: CT has integers of 8, 16 or 32 bits"),
        ({"pixel_offset": None}, "pixels_unsupported", "floating-point pixels: CT has integers of 8, 16 or 32 bits"),
        ({"bits_allocated": 12}, "pixels_unsupported", "12-bit pixels: CT has integers of 8, 16 or 32 bits"),
        *[
            (
                change,
                "pixels_unsupported",
                "SamplesPerPixel, PhotometricInterpretation or PixelRepresentation is missing or impossible",
            )
            for change in ({"samples": 3}, {"photometric": ""}, {"sign": -1}, {"sign": 2})
        ],
        *[
            (change, "pixels_unsupported", "BitsStored, HighBit and BitsAllocated contradict each other")
            for change in ({"bits_stored": 0}, {"bits_stored": 17}, {"bits_stored": 12, "high_bit": 10})
        ],
        ({"high_bit": 16}, "pixels_unsupported", "HighBit is above BitsAllocated"),
        ({"pixel_length": 0xFFFFFFFF}, "pixels_damaged", "a slice's pixels begin with bytes that make no sense"),
        ({"pixel_vr": "OF"}, "pixels_damaged", "a slice's pixels begin with bytes that make no sense"),
        ({"slope": None}, "rescale_invalid", "RescaleSlope or RescaleIntercept is missing, zero or not a number"),
        ({"slope": 0.0}, "rescale_invalid", "RescaleSlope or RescaleIntercept is missing, zero or not a number"),
        ({"slope": -10001.0}, "rescale_invalid", "RescaleSlope or RescaleIntercept is missing, zero or not a number"),
        ({"intercept": None}, "rescale_invalid", "RescaleSlope or RescaleIntercept is missing, zero or not a number"),
        ({"intercept": -1000001.0}, "rescale_invalid", "RescaleIntercept is absurd"),
    ],
)
def test_what_a_header_claims_is_refused_with_its_reason(tmp_path, change, code, sentence) -> None:
    header = headers_of(tmp_path, encoded(make_slice(ramp(0, (6, 5))), ExplicitVRLittleEndian))[0]
    check_claims(header)
    with pytest.raises(StudyRefused) as caught:
        check_claims(dataclasses.replace(header, **change))
    assert (caught.value.code.value, caught.value.reason) == (code, sentence)


@pytest.mark.parametrize(
    "change",
    [
        {"slope": 10000.0},
        {"slope": -0.001},
        {"intercept": 1e6},
        {"bits_stored": 1, "high_bit": 0},
        {"bits_stored": 12, "high_bit": 11},
        {"pixel_vr": "OB"},
        {"pixel_vr": "UN"},
        {"pixel_vr": None},
        {"rows": 1, "columns": 16},
    ],
)
def test_claims_that_are_just_possible_are_not_refused(tmp_path, change) -> None:
    header = headers_of(tmp_path, encoded(make_slice(ramp(0, (6, 5))), ExplicitVRLittleEndian))[0]
    check_claims(dataclasses.replace(header, **change))


def test_a_file_that_ends_before_its_pixels_is_damaged_but_for_a_last_odd_byte(tmp_path) -> None:
    header = headers_of(tmp_path, encoded(make_slice(ramp(0, (6, 5))), ExplicitVRLittleEndian))[0]
    end = header.pixel_offset + header.pixel_length
    check_claims(dataclasses.replace(header, file=StudyFile("1.dcm", end - 1, 0)))
    with pytest.raises(StudyRefused) as caught:
        check_claims(dataclasses.replace(header, file=StudyFile("1.dcm", end - 2, 0)))
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED
    assert caught.value.reason == "a slice's file ends before its pixels do"


@pytest.mark.parametrize("frame", [0, 1, 4])
def test_pixels_that_are_fewer_than_the_frames_need_are_refused_before_they_are_read(tmp_path, frame) -> None:
    header = headers_of(tmp_path, encoded(make_slice(ramp(0, (6, 5))), ExplicitVRLittleEndian))[0]
    needed = (frame + 1) * 6 * 5 * 2
    file = StudyFile("1.dcm", header.pixel_offset + needed, 0)
    check_claims(dataclasses.replace(header, frame=frame, pixel_length=needed, file=file))
    with pytest.raises(StudyRefused, match="a slice is shorter than its 6 x 5 x 2 bytes") as caught:
        check_claims(dataclasses.replace(header, frame=frame, pixel_length=needed - 1, file=file))
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED


def test_compressed_pixels_that_are_missing_are_damaged(tmp_path) -> None:
    header = headers_of(tmp_path, encoded(make_slice(ramp(0, (6, 5))), RLELossless))[0]
    check_claims(dataclasses.replace(header, file=StudyFile("1.dcm", header.pixel_offset + 24, 0)))
    with pytest.raises(StudyRefused) as caught:
        check_claims(dataclasses.replace(header, file=StudyFile("1.dcm", header.pixel_offset + 23, 0)))
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED
    assert caught.value.reason == "the compressed pixels of a slice are missing"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize(
    ("signed", "padding", "pattern", "padded"),
    [
        # What 12 bits can hold is looked for in the 12 bits, whatever the four above them hold.
        (False, 0, 0xA000, True),
        (False, 4095, 0xAFFF, True),
        (True, -2048, 0xA800, True),
        (True, 2047, 0xA7FF, True),
        # What they cannot hold is looked for in all 16.
        (False, 4096, 0x1000, True),
        (False, 4096, 0x0000, False),
        (True, -2049, 0xF7FF, True),
        (True, -2049, 0x07FF, False),
        (True, 2048, 0x0800, True),
        (True, 2048, 0xF800, False),
    ],
)
def test_where_a_padding_value_is_looked_for(tmp_path, syntax, signed, padding, pattern, padded) -> None:
    stored = np.full((6, 5), 7, "<u2")
    stored[2, 3] = pattern
    header = headers_of(tmp_path, encoded(make_slice(stored.view("<i2") if signed else stored), syntax))[0]
    header = dataclasses.replace(header, bits_stored=12, high_bit=11, padding=(padding, padding))
    read = read_hounsfield(tmp_path, header)
    assert (read[2, 3] == -1000) == padded
    assert np.count_nonzero(read == 7) == 29


def test_padding_in_compressed_pixels_is_air(tmp_path) -> None:
    stored = np.clip(ANATOMY, -1000, None)
    stored[5:9, 3:60] = -2000
    data = encoded(make_slice(stored, PixelPaddingValue=-2000), JPEG2000Lossless)
    assert np.array_equal(hounsfield(tmp_path, data), np.where(stored == -2000, -1000, stored))


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless])
@pytest.mark.parametrize(
    ("signed", "pattern", "fits"),
    [
        (False, 4095, True),
        (False, 4096, False),
        (False, 0xF800, False),
        (False, 0xFFFF, False),
        (True, 0x07FF, True),
        (True, 0xF800, True),
        (True, 0xF7FF, False),
        (True, 0x1000, False),
    ],
)
def test_compressed_values_must_fit_into_the_stored_bits(tmp_path, syntax, signed, pattern, fits) -> None:
    stored = np.full((68, 64), 5, "<u2")
    stored[3, 4] = pattern
    header = headers_of(tmp_path, encoded(make_slice(stored.view("<i2") if signed else stored), syntax))[0]
    header = dataclasses.replace(header, bits_stored=12, high_bit=11)
    if fits:
        read = read_hounsfield(tmp_path, header)
        assert read[3, 4] == (pattern - 0x10000 if signed and pattern > 0x7FFF else pattern)
        assert read[9, 9] == 5
    else:
        with pytest.raises(StudyRefused, match="of a slice do not fit into the 12 bits that it claims"):
            read_hounsfield(tmp_path, header)


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_frames_of_8_bit_pixels_in_big_endian_words_that_begin_at_an_odd_byte(tmp_path, frame) -> None:
    """Three frames of 35 bytes: the second begins in the middle of a word."""
    values = np.arange(105, dtype="u1").reshape(3, 7, 5)
    dataset = make_slice(values[0])
    dataset.PixelData = np.frombuffer(values.tobytes() + b"\0", "<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    header = headers_of(tmp_path, encoded(dataset, ExplicitVRBigEndian))[0]
    header = dataclasses.replace(header, frame=frame, frames=3)
    assert np.array_equal(read_hounsfield(tmp_path, header), values[frame])


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_each_frame_of_a_compressed_object_is_its_own(tmp_path, syntax) -> None:
    frames = np.stack([ANATOMY, ANATOMY[::-1], ANATOMY // 2]).astype("<i2")
    headers = headers_of(tmp_path, encoded(enhanced(frames), syntax))
    assert [header.frame for header in headers] == [0, 1, 2]
    for header, stored in zip(headers, frames, strict=True):
        expected = np.clip(stored.astype(np.int32) - 1000, -32768, 32767)
        assert np.array_equal(read_hounsfield(tmp_path, header), expected)


def test_a_deflated_slice_that_is_shorter_than_it_says(tmp_path) -> None:
    header = headers_of(tmp_path, encoded(make_slice(ramp(0, (6, 5))), DeflatedExplicitVRLittleEndian))[0]
    claimed = dataclasses.replace(header, rows=7, pixel_length=70)
    with pytest.raises(StudyRefused, match="a slice is shorter than its 7 x 5 x 2 bytes") as caught:
        read_hounsfield(tmp_path, claimed)
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED


def test_a_deflated_slice_that_is_no_longer_what_its_header_was_read_from(tmp_path) -> None:
    data = encoded(make_slice(ANATOMY), DeflatedExplicitVRLittleEndian)
    header = headers_of(tmp_path, data)[0]
    (tmp_path / "1.dcm").write_bytes(data[:600] + bytes(len(data) - 600))
    with pytest.raises(StudyRefused, match="a slice cannot be read again") as caught:
        read_hounsfield(tmp_path, header)
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED


def test_the_largest_slice_that_is_read(tmp_path) -> None:
    header = headers_of(tmp_path, encoded(make_slice(ramp(0, (6, 5)))))[0]
    size = 4096 * 4096 * 2
    file = StudyFile("1.dcm", header.pixel_offset + size, 0)
    check_claims(dataclasses.replace(header, rows=4096, columns=4096, pixel_length=size, file=file))


def test_a_codestream_with_a_damaged_middle_is_refused_with_what_its_decoder_raised(tmp_path) -> None:
    data = encoded(make_slice(ANATOMY), JPEGLSLossless)
    middle = (data.index(b"\xe0\x7f\x10\x00") + len(data)) // 2
    with pytest.raises(StudyRefused) as caught:
        hounsfield(tmp_path, data[:middle] + bytes(4) + data[middle + 4 :])
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED
    assert caught.value.reason == "the compressed pixels of a slice cannot be decoded (RuntimeError)"


def test_sentences_on_compressed_pixels(tmp_path) -> None:
    data = encoded(make_slice(ANATOMY), JPEG2000Lossless)
    header = headers_of(tmp_path, data)[0]
    eight = dataclasses.replace(header, bits_allocated=8, bits_stored=8, high_bit=7)
    with pytest.raises(StudyRefused, match="compressed pixels of 16 bits in a slice that claims 8"):
        read_hounsfield(tmp_path, eight)
    unknown = dataclasses.replace(header, transfer_syntax="1.2.840.10008.1.2.4.999")
    with pytest.raises(StudyRefused, match=r"no decoder for transfer syntax 1\.2\.840\.10008\.1\.2\.4\.999"):
        read_hounsfield(tmp_path, unknown)
