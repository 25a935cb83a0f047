"""UIDs, and the ids of studies: what of a folder's name may become the name of an output."""

from __future__ import annotations

import hashlib
import re

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_UID_LENGTH = 64  # DICOM PS3.5 section 9.1


def is_uid(text: str) -> bool:
    """Say whether ``text`` is a DICOM UID: digits and single dots, at most 64 characters."""
    return len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


def study_id(folder_name: str) -> str:
    """Return the id of the study in a data set's folder: the UID that is its name, otherwise a digest of the name.

    Spaces around a UID do not change whose folder it is; ``layout.list_study`` refuses the name.

    A name that is not a UID may be a person's: it never becomes the name of an output.
    """
    if is_uid(folder_name.strip(" ")):
        return folder_name.strip(" ")
    return "folder-" + hashlib.sha256(folder_name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
