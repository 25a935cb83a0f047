"""Code that a person has judged to make the same as the code before it, so that an upgrade retrains nothing.

Every run stores what its fingerprints were made from, ``code/<fingerprint>.json`` in its ``output_dir``: module to
digest. ``accepted.json`` beside it holds one line for each acceptance. The workflow gives a rule whose fingerprint was
accepted the earlier one: its parameters and the keys of its work stay equal, so that nothing is planned or rewritten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from spine_models.errors import UserError
from spine_models.provenance.files import read_json, write_json, write_text
from spine_models.provenance.fingerprint import fingerprint

ACCEPTED = "accepted.json"
_CODE = "code"


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


def store_code(output_dir: Path, parts: Mapping[str, str]) -> None:
    """Store what a fingerprint is made from, unless a run has done so before.

    Args:
        output_dir: of the run.
        parts: see ``Fingerprints.parts``.
    """
    path = _code_path(output_dir, fingerprint(parts))
    if not path.is_file():
        write_json(path, dict(parts))


def changed_modules(output_dir: Path, earlier: str, parts: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return what differs between earlier code and ``parts``, sorted; None if the earlier code was not stored.

    Args:
        output_dir: of the run.
        earlier: fingerprint of the earlier code.
        parts: of the code now; see ``Fingerprints.parts``.
    """
    try:
        before: dict[str, str] = read_json(_code_path(output_dir, earlier))
    except (OSError, ValueError):
        return None
    return tuple(sorted(name for name in before.keys() | parts.keys() if before.get(name) != parts.get(name)))


def read_acceptances(output_dir: Path) -> list[Acceptance]:
    """Return the lines of ``accepted.json``, oldest first; none where there is no such file.

    Raises:
        UserError: if the file is damaged.
    """
    path = output_dir / ACCEPTED
    try:
        lines = [row | {"modules": _modules(row["modules"])} for row in read_json(path)]
        return [Acceptance(**line) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} is damaged: restore it from a copy, or delete it and have the results that stand on it made anew"
        ) from None


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


def _code_path(output_dir: Path, code: str) -> Path:
    return output_dir / _CODE / f"{code}.json"
