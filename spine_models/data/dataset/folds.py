"""Which study belongs to which fold: drawn once, kept for ever, and never a patient in two."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_json
from spine_models.provenance.files import read_json, write_text
from spine_models.provenance.sealed import NotSealedError, read_sealed, write_sealed


@dataclass(frozen=True)
class FoldStudy:
    """A study to assign.

    Attributes:
        study: its id.
        group: studies of one group, a patient, go to one fold.
        stratum: folds get equal shares of each; here ``patient_overall``.
    """

    study: str
    group: str
    stratum: int = 0


@dataclass(frozen=True)
class FoldSettings:
    """How studies are split.

    Attributes:
        seed: of the draw.
        segmentation_folds: parts of the segmented studies.
        classification_parts: parts of the studies for the classifiers.
        folds_csv: a user's own table for the classifiers, "" to draw.
    """

    seed: int
    segmentation_folds: int
    classification_parts: int
    folds_csv: str = ""


def assign_folds(studies: Iterable[FoldStudy], parts: int, seed: int, earlier: Mapping[str, int]) -> dict[str, int]:
    """Assign each study to one of ``parts`` folds.

    Groups are taken in an order that is a digest of the seed and their name, the larger ones first, and each goes
    to the fold that has fewest of its strata, then fewest studies. So the result depends on neither the order of the
    studies nor the machine. A group with an earlier assignment keeps it; later ones fill up around it.

    Args:
        studies: those to assign.
        parts: number of folds.
        seed: of the draw.
        earlier: study to fold, from an earlier draw with the same seed and parts; may hold other studies too.

    Raises:
        UserError: if there are fewer groups than folds, or one group was in two folds earlier.
    """
    groups: dict[str, list[FoldStudy]] = defaultdict(list)
    for study in sorted(studies, key=lambda item: item.study):
        groups[study.group].append(study)
    if len(groups) < parts:
        raise UserError(
            f"{len(groups)} patients cannot be split into {parts} folds: use fewer folds or more studies (studies with "
            "the same PatientID count as one patient's)"
        )
    filled: dict[int, Counter[int]] = {part: Counter() for part in range(parts)}
    folds: dict[str, int] = {}
    for group in sorted(groups, key=lambda name: _draw_order(name, groups[name], seed, earlier)):
        members = groups[group]
        strata = Counter(member.stratum for member in members)
        fold = _earlier_fold(members, earlier)
        if fold is None:
            fold = min(filled, key=lambda part: _fullness(filled[part], strata, seed, part))
        filled[fold].update(strata)
        folds.update(dict.fromkeys((member.study for member in members), fold))
    return folds


def _draw_order(name: str, members: list[FoldStudy], seed: int, earlier: Mapping[str, int]) -> tuple[bool, int, str]:
    fresh = not any(member.study in earlier for member in members)
    return fresh, -len(members), hashlib.sha256(f"{seed}|{name}".encode()).hexdigest()


def _fullness(filled: Counter[int], strata: Counter[int], seed: int, part: int) -> tuple[int, int, str]:
    same = sum(filled[stratum] * count for stratum, count in strata.items())
    return same, filled.total(), hashlib.sha256(f"{seed}|fold {part}".encode()).hexdigest()


def _earlier_fold(members: list[FoldStudy], earlier: Mapping[str, int]) -> int | None:
    found = {earlier[member.study] for member in members if member.study in earlier}
    if len(found) > 1:
        names = ", ".join(member.study for member in members if member.study in earlier)
        raise UserError(
            f"the studies {names} are of one patient but were put into different folds earlier: remove the folder "
            "state/folds, which draws all folds anew"
        )
    return found.pop() if found else None


def user_folds(studies: Iterable[FoldStudy], table: Mapping[str, int], path: Path) -> dict[str, int]:
    """Take the folds of a user's table, after checking it against the studies.

    Raises:
        UserError: if a study is missing from the table or a patient is in two folds.
    """
    folds: dict[str, int] = {}
    seen: dict[str, tuple[str, int]] = {}
    for study in sorted(studies, key=lambda item: item.study):
        if study.study not in table:
            raise UserError(f"{path} does not name study {study.study}: add it, or leave folds_csv empty")
        fold = table[study.study]
        other, other_fold = seen.setdefault(study.group, (study.study, fold))
        if other_fold != fold:
            raise UserError(f"{path} puts {other} and {study.study}, of one patient, into different folds: use one")
        folds[study.study] = fold
    return folds


def kept_folds(studies: list[FoldStudy], parts: int, seed: int, state: Path) -> dict[str, int]:
    """Assign folds around those that ``state`` remembers, and remember the new ones.

    Assignments are remembered for one seed and number of parts; another seed or number draws anew. Studies that are
    gone for now stay remembered.
    """
    key = digest_json({"seed": seed, "parts": parts})
    path = state.with_name(f"{state.stem}-{key[:12]}.json")
    earlier = _remembered(path)
    folds = assign_folds(studies, parts, seed, earlier)
    write_sealed(path, {"folds": earlier | folds})
    return folds


def _remembered(path: Path) -> dict[str, int]:
    """Return the assignments of earlier draws.

    Raises:
        UserError: if the file that remembers them is damaged.
    """
    try:
        return dict(read_sealed(path)["folds"])
    except FileNotFoundError:
        return {}
    except NotSealedError:
        return dict(read_json(path))  # of an earlier state, which held only the assignments
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} is damaged: restore it from a copy, or run `rm {shlex.quote(str(path))}` and the same command "
            "again, which draws these folds anew"
        ) from None


def write_folds(path: Path, studies: Iterable[FoldStudy], folds: Mapping[str, int]) -> None:
    """Write the table StudyInstanceUID,group,fold, sorted by study."""
    rows = [f"{item.study},{item.group},{folds[item.study]}" for item in sorted(studies, key=lambda item: item.study)]
    write_text(path, "\n".join(["StudyInstanceUID,group,fold", *rows]) + "\n")
