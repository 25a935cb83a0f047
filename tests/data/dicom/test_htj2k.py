"""High-throughput JPEG 2000: decoded where the plugin can; nothing that is installed here encodes it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID, HTJ2KLossless, HTJ2KLosslessRPCL

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.headers import SliceHeader, read_headers
from spine_models.data.dicom.pixels import is_lossy, read_hounsfield
from tests.data.dicom_builder import encoded, make_slice

VALUES = (np.add.outer(np.arange(12) * 97, np.arange(10) * 331) % 4096).astype("<i2") - 1024
CODESTREAM = base64.b64decode(
    "/0//UQApQAAAAAAKAAAADAAAAAAAAAAAAAAACgAAAAwAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
    "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAHoAAf+TwAAmlP0Ch3QAAMAAE0AAEwAs9QOH"
    "dAB8/gKHdADAABNAABMA0egAi3QAdf0AAjQAwAAVMAAFUFEU/QAiMIJ2ALJly/7AMYH+tgDAACugABWglFKiRCklStgv1+ILdwDA"
    "QCAQ+PQIRiEB7LgA/9k="
)
"""``VALUES``, written losslessly by OpenJPH through ``imagecodecs.htj2k_encode(VALUES, reversible=True)``."""


def write(tmp_path, codestream: bytes, syntax: UID = HTJ2KLossless) -> SliceHeader:
    dataset = pydicom.dcmread(io.BytesIO(encoded(make_slice(VALUES))))
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "1.dcm")
    return read_headers(tmp_path, StudyFile("1.dcm", (tmp_path / "1.dcm").stat().st_size, 0))[0]


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL])
def test_values_are_exact(tmp_path, syntax) -> None:
    header = write(tmp_path, CODESTREAM, syntax)
    assert np.array_equal(read_hounsfield(tmp_path, header), VALUES)
    assert not is_lossy(header)


def test_a_damaged_codestream_is_refused(tmp_path) -> None:
    with pytest.raises(StudyRefused) as caught:
        read_hounsfield(tmp_path, write(tmp_path, CODESTREAM[: len(CODESTREAM) // 2]))
    assert caught.value.code == RefusalCode.PIXELS_DAMAGED
