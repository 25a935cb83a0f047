"""What stages hand on to one another beside files: typed, with one JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

from spine_models.provenance.canonical import canonical_json
from spine_models.provenance.settings import settings_from


class Facts:
    """Base of the frozen dataclasses that are the facts of a record."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values: each field under its name, tuples as lists."""
        values: dict[str, Any] = json.loads(canonical_json(asdict(self)))  # type: ignore[call-overload]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the facts that ``to_json`` gave.

        Raises:
            TypeError: if a fact is missing or unknown.
            ValueError: if a value is not in a closed list.
        """
        return settings_from(cls, values)
