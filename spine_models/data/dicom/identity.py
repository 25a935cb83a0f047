"""What a DICOM object that is made of a study repeats of the study's own headers: whose and which study it is."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from pydicom.dataset import Dataset

from spine_models.data.dicom.file import parse_file
from spine_models.data.dicom.study import StudySource
from spine_models.data.dicom.values import number_of, text_of

_STUDY_DATE, _STUDY_TIME, _ACCESSION, _STUDY_ID = 0x00080020, 0x00080030, 0x00080050, 0x00200010
_PATIENT_NAME, _PATIENT_ID, _BIRTH_DATE, _SEX = 0x00100010, 0x00100020, 0x00100030, 0x00100040
_CHARACTER_SET = 0x00080005
_LOSSY, _LOSSY_RATIO, _LOSSY_METHOD = 0x00282110, 0x00282112, 0x00282114
_TAGS = (
    _CHARACTER_SET, _STUDY_DATE, _STUDY_TIME, _ACCESSION, _PATIENT_NAME, _PATIENT_ID, _BIRTH_DATE, _SEX, _STUDY_ID,
    _LOSSY, _LOSSY_RATIO, _LOSSY_METHOD,
)  # fmt: skip
_DATE, _TIME = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"), re.compile(r"\d{6}(?:\.\d{1,6})?")
_NO_TEXT = re.compile(r"[\x00-\x1f\\]")


@dataclass(frozen=True)
class Identity:
    """Whose and which study it is; "" for what the headers lack, or hold in a form that is not valid.

    Attributes:
        name: PatientName; "" unless it is asked for, as ``birth_date`` and ``sex``.
        lossy: LossyImageCompression ("01"), its ratio and its method; empty where the pixels never lost anything.
    """

    patient_id: str
    study_id: str
    accession: str
    date: str
    time: str
    name: str
    birth_date: str
    sex: str
    lossy: tuple[str, ...]


def read_identity(source: StudySource, *, patient: bool) -> Identity:
    """Read the header of a study's first slice once more.

    Args:
        source: the study.
        patient: also read name, birth date and sex.

    Raises:
        UnreadableFileError: as ``parse_file``.
    """
    parsed = parse_file(source.folder / source.grid.headers[0].name, _TAGS)
    elements = parsed.elements
    date, time = _text(elements, _STUDY_DATE, 8), _text(elements, _STUDY_TIME, 13)
    birth, sex = _text(elements, _BIRTH_DATE, 8), _text(elements, _SEX, 1).upper()
    ratio, method = number_of(elements, _LOSSY_RATIO), text_of(elements, _LOSSY_METHOD)
    lossy = (f"{ratio:g}", method) if ratio and method and "\\" not in method else ()
    return Identity(
        patient_id=_text(elements, _PATIENT_ID, 64),
        study_id=_text(elements, _STUDY_ID, 16),
        accession=_text(elements, _ACCESSION, 16),
        date=date if _DATE.fullmatch(date) else "",
        time=time if _TIME.fullmatch(time) else "",
        name=_text(elements, _PATIENT_NAME, 64 * 3) if patient else "",
        birth_date=birth if patient and _DATE.fullmatch(birth) else "",
        sex=sex if patient and sex in ("M", "F", "O") else "",
        lossy=("01", *lossy) if text_of(elements, _LOSSY) == "01" else (),
    )


def _text(elements: Dataset, tag: int, longest: int) -> str:
    """Return a text in its character set; "" if it is absent, too long or cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = str(elements[tag].value if tag in elements else "").strip()
    except Exception:  # pydicom raises many kinds on damaged elements
        return ""
    return "" if len(text) > longest or _NO_TEXT.search(text) else text
