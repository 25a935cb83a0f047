"""What weights say about the studies and patients that they learnt from, without naming them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

TRAINING_STUDIES = "training_studies"
"""Key of the provenance of weights under which the tokens of the training studies and of their patients stand."""


def study_token(study: str) -> str:
    """Return a short digest of the id of a study or of a patient's group.

    Weights travel in bundles, and an id may lead back to a patient.
    """
    return hashlib.sha256(f"study {study}".encode()).hexdigest()[:16]


def study_tokens(studies: Iterable[str]) -> list[str]:
    """Return the sorted tokens of ``studies``."""
    return sorted(study_token(study) for study in studies)
