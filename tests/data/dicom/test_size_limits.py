"""Files that claim, or unfold to, more than there is memory or time for."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from spine_models.data.dataset.quarantine import RefusalCode
from spine_models.data.dicom import file as dicom_file
from spine_models.data.dicom.file import FileTooLargeError
from tests.data.dicom.test_pixels import ANATOMY, headers_of, hounsfield, refusal
from tests.data.dicom_builder import encoded, make_slice, ramp


def test_a_gigantic_header_is_refused(tmp_path) -> None:
    dataset = make_slice(ramp(1), Rows=65535, Columns=65535)
    assert refusal(tmp_path, encoded(dataset)) == RefusalCode.TOO_LARGE


def inflated_parts(data: bytes) -> tuple[bytes, bytes]:
    """The meta header of a deflated file, and its data set."""
    meta_end = 132 + 12 + int.from_bytes(data[140:144], "little")
    return data[:meta_end], zlib.decompress(data[meta_end:], -zlib.MAX_WBITS)


def deflated_zeros(start: bytes, count: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [compressor.compress(start), *(compressor.compress(bytes(1 << 20)) for _ in range(count >> 20))]
    return b"".join(pieces) + compressor.flush()


@pytest.mark.parametrize("genuine", [False, True])
def test_a_deflate_bomb_is_refused_without_keeping_what_it_inflates_to(tmp_path, genuine) -> None:
    """100 MB of zeros, alone or behind a genuine slice."""
    meta, dataset = inflated_parts(encoded(make_slice(ANATOMY), DeflatedExplicitVRLittleEndian))
    data = meta + deflated_zeros(dataset if genuine else b"", 100 << 20)
    tracemalloc.start()
    with pytest.raises(FileTooLargeError):
        headers_of(tmp_path, data)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("element", [b"\0" * 8, b"\x09\x00\x01\x10LO\x02\x00ab", b"\x08\x00\x08\x00CS\x02\x00ab"])
def test_a_header_without_end_is_not_read_to_its_end(tmp_path, element) -> None:
    """Parsed to its end, a file of a few hundred MB like this would take minutes."""
    assert dicom_file.MAX_ELEMENTS * len(element) < 1 << 20
    with pytest.raises(FileTooLargeError, match="more than 10000 elements"):
        headers_of(tmp_path, bytes(128) + b"DICM" + element * (1 << 18))
    long = b"\x09\x00\x01\x10UN\0\0" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20)
    with pytest.raises(FileTooLargeError, match="does not end within 16 MiB"):
        headers_of(tmp_path, bytes(128) + b"DICM" + long * 20)


def test_a_header_of_a_few_megabytes_is_read(tmp_path) -> None:
    """As that of an enhanced object, or one with a large private element, in every encoding."""
    dataset = make_slice(ANATOMY)
    dataset.add_new(0x00091001, "OB", bytes(3 << 20))
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless):
        assert np.array_equal(hounsfield(tmp_path, encoded(dataset, syntax)), ANATOMY)
