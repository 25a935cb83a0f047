"""Code that a person has judged to make the same as the code before it, so that an upgrade retrains nothing.

``accepted.json`` in a run's ``output_dir`` holds one line for each acceptance. The workflow gives a rule whose
fingerprint was accepted the earlier one: its parameters and the keys of its work stay equal, so that nothing is planned
or rewritten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spine_models.errors import StorageError, UserError, is_of_storage
from spine_models.provenance.files import read_json, write_text

ACCEPTED = "accepted.json"


@dataclass(frozen=True)
class Acceptance:
    """One line of ``accepted.json``.

    Attributes:
        stage: name of the rule.
        code: fingerprint of the code that stands for another one.
        accepted: fingerprint under which the results were made, and are still found.
        modules: what differs between the two; None where the earlier code was not stored.
        reason: why a person says that both make the same.
    """

    stage: str
    code: str
    accepted: str
    modules: tuple[str, ...] | None
    reason: str


def read_acceptances(output_dir: Path) -> list[Acceptance]:
    """Return the lines of ``accepted.json``, oldest first; none where there is no such file.

    Raises:
        UserError: if the file is damaged, or may not be read.
    """
    path = output_dir / ACCEPTED
    try:
        lines = [row | {"modules": _modules(row["modules"])} for row in read_json(path)]
        return [Acceptance(**line) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and is_of_storage(error):
            raise StorageError.of(error, path) from None
        raise UserError(
            f"{path} is damaged: restore it from a copy, or delete it and have the results that stand on it made anew"
        ) from None


def acceptances_of(output_dir: Path | None) -> list[dict[str, Any]]:
    """Return the acceptances of a run as JSON values, for the provenance of what it publishes; none without a run."""
    return [] if output_dir is None else [asdict(line) for line in read_acceptances(output_dir)]


def write_acceptances(output_dir: Path, acceptances: Iterable[Acceptance]) -> None:
    """Write ``accepted.json``; of several lines for the same stage and code, the last."""
    lines = {(line.stage, line.code): line for line in acceptances}
    rows = ",\n".join(json.dumps(asdict(line), ensure_ascii=False) for line in lines.values())
    write_text(output_dir / ACCEPTED, f"[\n{rows}\n]\n")


def code_in_force(acceptances: Iterable[Acceptance], stage: str, code: str) -> str:
    """Return the fingerprint that stands for ``code`` in the keys of ``stage``: an accepted one, or ``code`` itself."""
    accepted = {(line.stage, line.code): line.accepted for line in acceptances}
    return accepted.get((stage, code), code)


def _modules(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
