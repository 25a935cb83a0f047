"""What a training remembers of an epoch whose weights it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

from spine_models.evaluation.epochs import Epoch


class Verdict(Protocol):
    """What a validation found: a dataclass of ``Facts``."""

    @property
    def metric(self) -> float | None:
        """What epochs are compared by; None where no held-out study has anything to judge by."""
        ...

    def to_json(self) -> dict[str, Any]:
        """See ``Facts``."""
        ...

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """See ``Facts``."""
        ...


@dataclass(frozen=True)
class KeptEpoch:
    """A row of ``epochs.json`` and what its validation found."""

    row: Epoch
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"row": self.row.to_json(), "verdict": self.verdict.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any], kind: type[Verdict]) -> Self:
        """Return the epoch that ``to_json`` gave; ``kind`` is that of its verdict."""
        return cls(Epoch.from_json(values["row"]), kind.from_json(values["verdict"]))
