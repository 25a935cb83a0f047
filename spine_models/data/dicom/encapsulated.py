"""Compressed frames in their items: whole, bounded, and telling the truth about their size, or refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from rle.utils import decode_segment  # type: ignore[attr-defined]  # its stub leaves it out

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.codestream import codestream_facts
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.jpeg2000_structure import require_whole_jpeg2000
from spine_models.data.dicom.jpeg_structure import (
    LOSSLESS_FRAME,
    DamagedCodestreamError,
    JpegStructure,
    jpeg_structure,
)

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_RLE_SEGMENTS = 15


def whole_frame(encapsulated: bytes, header: SliceHeader) -> bytes:
    """Return one frame's compressed bytes.

    Args:
        encapsulated: the value of PixelData, from its first item on; may be followed by other elements.
        header: which frame of how many.

    Raises:
        StudyRefused: ``pixels_damaged`` if items are cut off or the frame is not there.
    """
    fragments = sum(1 for _ in _fragments(encapsulated))
    if fragments < 1 or fragments < header.frames:
        raise damaged("the compressed pixels of a slice are missing")
    try:
        return get_frame(encapsulated, header.frame, number_of_frames=header.frames)
    except MemoryError:
        raise
    except Exception:  # pydicom raises many kinds on damaged bytes
        raise damaged("the compressed pixels of a slice are not where its offsets say") from None


@dataclass(frozen=True)
class CheckedFrame:
    """A JPEG, JPEG-LS or JPEG 2000 frame that is built as it must be.

    Attributes:
        data: its bytes.
        precision: bits a sample.
        jpeg: its parts; None for JPEG 2000.
    """

    data: bytes
    precision: int
    jpeg: JpegStructure | None

    @property
    def is_lossless_jpeg(self) -> bool:
        """The frame is of JPEG's lossless process, whatever its transfer syntax says."""
        return self.jpeg is not None and self.jpeg.frames[0][0] == LOSSLESS_FRAME


def checked_frame(data: bytes, header: SliceHeader) -> CheckedFrame:
    """Compare a codestream's own header with the slice's, and look whether it is built as it must be.

    Raises:
        StudyRefused: ``pixels_damaged`` if they disagree in size or bits, or the codestream is damaged where that can
            be known before it is decoded.
    """
    facts = codestream_facts(data)
    if facts is None:
        raise damaged("the compressed pixels of a slice have no readable header")
    if (facts.rows, facts.columns, facts.components) != (header.rows, header.columns, 1):
        raise damaged(
            f"compressed pixels of {facts.rows} x {facts.columns} x {facts.components} in a slice that claims "
            f"{header.rows} x {header.columns} x 1"
        )
    if facts.precision > header.bits_allocated:
        raise damaged(f"compressed pixels of {facts.precision} bits in a slice that claims {header.bits_allocated}")
    try:
        if facts.start is None:
            return CheckedFrame(data, facts.precision, jpeg_structure(data))
        require_whole_jpeg2000(data[facts.start :])
    except DamagedCodestreamError as error:
        raise damaged(f"the compressed pixels of a slice {error}") from None
    return CheckedFrame(data, facts.precision, None)


def decode_rle(frame: bytes, header: SliceHeader) -> NDArray[np.unsignedinteger]:
    """Decode a frame of DICOM's run-length encoding (PS3.5 annex G): (rows, columns) as unsigned patterns.

    Raises:
        StudyRefused: ``pixels_damaged`` if a segment is cut off or does not decode to the slice's size.
    """
    count, size = header.rows * header.columns, header.bits_allocated // 8
    if len(frame) < 64:
        raise damaged("the run-length code of a slice is cut off")
    segments, *offsets = struct.unpack_from(f"<{_RLE_SEGMENTS + 1}L", frame)
    bounds = [*offsets[:size], len(frame)]
    if segments != size or bounds[0] != 64 or any(a >= b for a, b in pairwise(bounds)):
        raise damaged("the run-length code of a slice has the wrong number of segments")
    planes = np.empty((size, count), np.uint8)
    for index in range(size):
        planes[size - 1 - index] = _segment(frame[bounds[index] : bounds[index + 1]], count)
    patterns: NDArray[np.unsignedinteger] = np.ascontiguousarray(planes.T).view(f"<u{size}")
    return patterns.reshape(header.rows, header.columns)


def damaged(reason: str) -> StudyRefused:
    """Return the refusal of a slice whose compressed pixels cannot be trusted."""
    return StudyRefused(RefusalCode.PIXELS_DAMAGED, reason)


def _segment(data: bytes, count: int) -> NDArray[np.uint8]:
    """Decode one segment; bounded before it is decoded, since two bytes can stand for 128."""
    if len(data) > 2 * count + 2:
        raise damaged("the run-length code of a slice is longer than its pixels")
    try:
        plane = np.frombuffer(decode_segment(data), np.uint8)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException:  # a panic of the decoder, which is written in Rust, is not an Exception
        raise damaged("the run-length code of a slice cannot be decoded") from None
    # A zero byte that pads a segment to even length decodes to nothing, or to a copy of what is not there.
    if not count <= len(plane) <= count + 1:
        raise damaged("the run-length code of a slice decodes to another size than it says")
    return plane[:count]


def _fragments(encapsulated: bytes) -> Iterator[bytes]:
    """Walk over the items after the offset table (PS3.5 section A.4)."""
    at, first = 0, True
    while at + 8 <= len(encapsulated):
        tag, (length,) = encapsulated[at : at + 4], struct.unpack_from("<L", encapsulated, at + 4)
        if tag == _END:
            return
        if tag != _ITEM or at + 8 + length > len(encapsulated):
            raise damaged("the compressed pixels of a slice are cut off")
        if not first:
            yield encapsulated[at : at + 8]
        at, first = at + 8 + length, False
    raise damaged("the compressed pixels of a slice are cut off")
