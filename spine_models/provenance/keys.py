"""The key of a piece of work: all that decides what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spine_models.provenance.canonical import digest_json


@dataclass(frozen=True)
class Key:
    """What an expensive piece of work depends on; its result is stored under it and found again by it.

    Attributes:
        stage: name of the rule, so that two stages never share a key.
        inputs: name of each input to the digest of its *content*.
        config: the part of the configuration that the work depends on.
        code: fingerprint of the code that does the work.
    """

    stage: str
    inputs: Mapping[str, str]
    config: Mapping[str, Any]
    code: str

    @property
    def digest(self) -> str:
        """SHA-256 over all parts: equal keys, and no others, have equal digests."""
        return digest_json(self.parts())

    def parts(self) -> dict[str, Any]:
        """Return the parts as a record stores them."""
        return asdict(self)
