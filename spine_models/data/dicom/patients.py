"""Whose slices these are, without telling who."""

from __future__ import annotations

import hashlib

_NOBODY = frozenset(
    ("", "ANON", "ANONYM", "ANONYMIZED", "ANONYMISED", "ANONYMOUS", "DEIDENTIFIED", "NA", "N/A", "NONE", "NULL",
     "PATIENT", "REMOVED", "UNKNOWN", "XXX", "XXXX", "0", "00", "000", "0000", "00000000")
)  # fmt: skip
"""Placeholders for a PatientID; studies that share one are not of one patient."""


def known_patient(patient_id: str) -> str:
    """Return a PatientID without surrounding spaces, "" if it is empty or says that it was removed."""
    return "" if patient_id.strip(" ^_-.*").upper() in _NOBODY else patient_id.strip()


def patient_group(patient_id: str) -> str:
    """Return what tells that two studies are of one patient without telling who: a cut SHA-256 of the PatientID.

    A digest of a short number can be reversed by trying all numbers; it keeps names out of tables and reports, and is
    no anonymisation. "" for a PatientID that is empty or says that it was removed.
    """
    known = known_patient(patient_id)
    return hashlib.sha256(known.encode("utf-8")).hexdigest()[:16] if known else ""
