"""Why a study cannot be used: a closed list of codes, and the exception that carries one."""

from __future__ import annotations

from enum import StrEnum

from spine_models.provenance.refused import Refused


class RefusalCode(StrEnum):
    """Every reason for quarantine; ``docs/quarantine.md`` has an example and what to do for each."""

    FOLDER_NAME = "folder_name"
    LINK_OUTSIDE = "link_outside"
    NO_IMAGES = "no_images"
    NO_CT = "no_ct"
    NOT_AXIAL = "not_axial"
    TOO_FEW_SLICES = "too_few_slices"
    GEOMETRY_MISSING = "geometry_missing"
    GEOMETRY_INVALID = "geometry_invalid"
    SPACING_INVALID = "spacing_invalid"
    SEVERAL_PATIENTS = "several_patients"
    SERIES_AMBIGUOUS = "series_ambiguous"
    SLICES_MISSING = "slices_missing"
    STEPS_TOO_WIDE = "steps_too_wide"
    TOO_LARGE = "too_large"
    RESCALE_INVALID = "rescale_invalid"
    PIXELS_UNSUPPORTED = "pixels_unsupported"
    PIXELS_DAMAGED = "pixels_damaged"
    PIXELS_CONSTANT = "pixels_constant"
    LABEL_FORMAT = "label_format"
    LABEL_DAMAGED = "label_damaged"
    LABEL_INVALID = "label_invalid"
    LABEL_GEOMETRY = "label_geometry"
    NOT_IN_TABLE = "not_in_table"
    NO_FOLDER = "no_folder"
    DUPLICATE_STUDY = "duplicate_study"
    SERIES_SHARED = "series_shared"
    ARCHIVE = "archive"
    FAILED = "failed"


class StudyRefused(Refused):
    """A study that cannot be used.

    Attributes:
        code: the entry of the closed list.
        reason: one sentence for the person who looks after the data; never holds a patient's name, a birth date or
            free text of a DICOM file.
    """

    code: RefusalCode

    def __init__(self, code: RefusalCode, reason: str) -> None:
        super().__init__(f"{code.value}: {reason}")
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type[StudyRefused], tuple[RefusalCode, str]]:
        """Say how to make the same refusal in another process."""
        return StudyRefused, (self.code, self.reason)
