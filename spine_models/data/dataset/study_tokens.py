"""What weights say about the studies and patients that they learnt from, without naming them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from spine_models.errors import UserError

TRAINING_STUDIES = "training_studies"
"""Key of the provenance of weights under which the tokens of the training studies and of their patients stand."""

PARTLY_UNKNOWN = "training_studies_partly_unknown"
"""Key of the provenance of weights that also learnt from studies that nobody names, through what they started from."""


def study_token(study: str) -> str:
    """Return a short digest of the id of a study or of a patient's group.

    Weights travel in bundles, and an id may lead back to a patient.
    """
    return hashlib.sha256(f"study {study}".encode()).hexdigest()[:16]


def study_tokens(studies: Iterable[str]) -> list[str]:
    """Return the sorted tokens of ``studies``."""
    return sorted(study_token(study) for study in studies)


def learnt_from(provenance: Mapping[str, Any]) -> frozenset[str]:
    """Return the tokens of the studies and patients that weights say they learnt from.

    Raises:
        UserError: if what they say is not a list of tokens, so that nothing could be kept apart by it.
    """
    tokens = provenance.get(TRAINING_STUDIES, [])
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise UserError(f"weights whose {TRAINING_STUDIES} is not a list of tokens are damaged: make or copy them anew")
    return frozenset(tokens)


def says_all(provenance: Mapping[str, Any]) -> bool:
    """Say whether weights name every study that they learnt from; if not, any study may be among them."""
    return TRAINING_STUDIES in provenance and not provenance.get(PARTLY_UNKNOWN, False)
