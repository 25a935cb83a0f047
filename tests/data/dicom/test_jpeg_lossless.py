"""JPEG's lossless process against the standard, bit by bit, and against two other decoders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEGLossless

from spine_models.data.dicom.jpeg_lossless import decode_lossless_jpeg
from spine_models.data.dicom.jpeg_structure import DamagedCodestreamError, jpeg_structure
from tests.data.lossless_jpeg import Coding, NotDecodableError, decode, encode


def read(frame: bytes, signed: bool = False) -> NDArray[np.unsignedinteger]:
    return decode_lossless_jpeg(frame, jpeg_structure(frame), signed)


def anatomy(precision: int, shape: tuple[int, int] = (19, 23)) -> NDArray[np.integer]:
    """Noise, the same for equal arguments, in whatever order tests run."""
    return np.random.default_rng([8, precision, *shape]).integers(0, 1 << precision, shape)


@pytest.mark.parametrize("precision", range(2, 17))
@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_precision_and_predictor_with_restarts_and_point_transform(precision, predictor) -> None:
    for transform, restart_rows in itertools.product((0, 1), (0, 1, 5)):
        values = anatomy(precision) >> transform << transform
        frame = encode(values, Coding(precision, predictor, transform, restart_rows))
        found = read(frame)
        assert found.dtype == (np.uint8 if precision <= 8 else np.uint16)
        assert np.array_equal(found, values)
        assert np.array_equal(decode(frame), values)


@pytest.mark.parametrize("precision", [8, 12, 16])
@pytest.mark.parametrize("plugin", ["pylibjpeg", "gdcm"])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_other_decoders_find_the_same_bytes(precision, plugin, predictor) -> None:
    values = anatomy(precision, (64, 48))
    frame = encode(values, Coding(precision, predictor, 0, 16))
    allocated = 8 if precision == 8 else 16
    other, _ = get_decoder(JPEGLossless).as_array(
        encapsulate([frame]), decoding_plugin=plugin, rows=64, columns=48, samples_per_pixel=1, number_of_frames=1,
        bits_allocated=allocated, bits_stored=precision, pixel_representation=0, pixel_keyword="PixelData",
        photometric_interpretation="MONOCHROME2", raw=True,
    )  # fmt: skip
    assert other.tobytes() == read(frame).tobytes()


def test_a_sign_may_extend_beyond_the_precision_where_values_are_signed() -> None:
    values = np.array([[-2048, 2047, -1, 0]]).astype("<i2").view("<u2")
    frame = encode(values, Coding(precision=12))
    assert np.array_equal(read(frame, signed=True), values)
    with pytest.raises(DamagedCodestreamError, match="values of more than the 12 bits"):
        read(frame)
    with pytest.raises(DamagedCodestreamError, match="values of more than the 12 bits"):
        read(encode(np.array([[0, 0x7FFF, 0xFFFF]]), Coding(precision=12)), signed=True)


def test_the_difference_of_32768_has_no_bits_of_its_own() -> None:
    values = np.array([[0, 32768, 0, 65535, 32767]])
    assert np.array_equal(read(encode(values)), values)


@pytest.mark.parametrize("filler", [0, 1])
def test_what_fills_up_the_last_byte_are_ones_or_zeros(filler) -> None:
    frame = bytearray(encode(np.zeros((1, 3), int)))  # 32768 less, then two zeros: 8 + 2 + 2 bits, four are left
    assert frame[-3] & 0xF == 0xF
    frame[-3] = frame[-3] & 0xF0 | 0xF * filler
    assert read(bytes(frame)).tolist() == [[0, 0, 0]]
    frame[-3] ^= 0x2
    with pytest.raises(DamagedCodestreamError, match="longer or shorter"):
        read(bytes(frame))


def test_missing_code_is_seen_unless_what_is_left_is_the_code_of_another_image() -> None:
    """The end of each frame is whole. A few of a hundred such cuts leave code that fits to the bit: nothing tells."""
    frame = encode(anatomy(16))
    place, seen = len(frame) - 200, 0
    for cut in range(1, 100):
        damaged = frame[:place] + frame[place + cut :]
        try:
            found = read(damaged)
        except DamagedCodestreamError:
            seen += 1
        else:
            assert np.array_equal(found, decode(damaged))
    assert seen >= 90


def test_code_that_is_over_is_seen() -> None:
    frame = encode(anatomy(12), Coding(12))
    for more in (b"\x55", b"\xfe\xfe", b"\0" * 9):
        with pytest.raises(DamagedCodestreamError, match="longer or shorter"):
            read(frame[:-2] + more + frame[-2:])


def test_a_code_that_the_table_lacks_is_seen() -> None:
    values = np.tile(np.arange(40), (6, 1))
    frame = encode(values)
    start = frame.index(b"\xff\xda") + 10
    for place in range(start, len(frame) - 2):
        damaged = frame[:place] + b"\xfb" + frame[place + 1 :]  # with what follows, a code of only ones
        try:
            expected = decode(damaged)
        except NotDecodableError:
            with pytest.raises(DamagedCodestreamError):
                read(damaged)
        else:
            assert np.array_equal(read(damaged), expected)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame.replace(b"\xff\xc4", b"\xff\xfe"), "no Huffman table"),
        (lambda frame: frame.replace(b"\xff\xc3", b"\xff\xc0"), "not a single scan"),
        (lambda frame: frame.replace(b"\xff\xda", b"\xff\xcc\x00\x04\x00\x00\xff\xda"), "not a single scan"),
        (lambda frame: frame.replace(b"\x00\x24\x00\x00\x02", b"\x00\x24\x00\x05\x02"), "damaged Huffman"),
        (lambda frame: frame.replace(bytes(range(17)), bytes((*range(16), 17))), "of another process"),
        (lambda frame: frame.replace(bytes(range(17)), bytes((*range(16), 3))), "damaged Huffman"),
        (lambda frame: frame.replace(b"\x07\x00\x01\x00\x00", b"\x07\x00\x08\x00\x00"), "impossible predictor"),
        (lambda frame: frame.replace(b"\x07\x00\x01\x00\x00", b"\x07\x00\x00\x00\x00"), "impossible predictor"),
        (lambda frame: frame.replace(b"\x07\x00\x01\x00\x00", b"\x07\x00\x01\x00\x10"), "impossible predictor"),
        (lambda frame: frame.replace(b"\xff\xda\x00\x08\x01\x07", b"\xff\xda\x00\x08\x01\x06"), "not a single scan"),
    ],
)
def test_parameters_that_contradict_are_refused_before_a_decoder_runs(change, sentence) -> None:
    frame = encode(anatomy(16))
    assert change(frame) != frame
    with pytest.raises(DamagedCodestreamError, match=sentence):
        read(change(frame))


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_restarts_must_be_as_many_as_the_interval_says(rows) -> None:
    values = anatomy(16, (8, 5))
    frame = encode(values, Coding(restart_rows=rows))
    for interval in (1, 4, 6, 5 * rows + 5, 5 * rows * 2, 0):
        other = frame.replace(
            b"\xff\xdd\x00\x04\x00" + bytes((5 * rows,)), b"\xff\xdd\x00\x04\x00" + bytes((interval,))
        )
        assert other != frame
        with pytest.raises(DamagedCodestreamError):
            read(other)
