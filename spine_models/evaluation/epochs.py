"""Epochs of a training whose weights are kept."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.provenance.facts import Facts


@dataclass(frozen=True)
class Epoch(Facts):
    """One epoch whose weights are kept.

    Attributes:
        epoch: counted from 0.
        metric: of its validation.
        file: name of the ``.safetensors`` file.
        sha256: digest of that file.
    """

    epoch: int
    metric: float
    file: str
    sha256: str
