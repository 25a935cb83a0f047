"""Which of several axial stacks of a study is read, and why the others are not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spine_models.data.dataset.uids import is_uid
from spine_models.data.dicom.geometry import heights
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.passes import Pass, taken_order
from spine_models.data.volume_facts import SeriesFacts

LONG_MM = 100.0
"""Extent from which on a stack may be a neck, unless all are shorter; the cervical spine is 110 to 150 mm tall."""
_THICKNESS_STEP_MM = 0.5
_MOST_COMPARED = 4
"""Stacks that a mask compares, at most."""
_SHARP_NUMBER = 50
"""Numbers of Siemens' kernels from here on are for bone (B60f, Br64); Canon's are FC30 to FC59, and FC80 on."""
_NUMBERED = re.compile(r"(FC|BR|HR|BL|BF|BV|QR|HF|B|J|I|H)(\d\d)[A-Z]?")
_SHARP = re.compile(r"BONE|SHARP|EDGE|LUNG|^(E|D|L|YC|YD|YE)$")
_SOFT = re.compile(r"STANDARD|SOFT|SMOOTH|DETAIL|^(A|B|C|UA|UB|UC)$")
_NECK = re.compile(r"C[-_ ]?SPINE|CERVI|NECK|\bHWS\b|HALS|\bCOU\b|CUELLO|COLLO")
_ELSEWHERE = re.compile(
    r"CHEST|THORA|ABD|PELVI|LUMB|\bHEAD\b|BRAIN|SKULL|KNEE|\bHIP\b|LIVER|SHOULDER|\b[TL][-_ ]?SPINE|\b[BL]WS\b"
)
_UNUSUAL = re.compile(r"[^A-Za-z0-9 +_./-]")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pass that may be the volume, and the stack that it is from."""

    chosen: Pass
    stack: Sequence[SliceHeader]

    @property
    def headers(self) -> list[SliceHeader]:
        """The slices."""
        return self.chosen.headers

    @cached_property
    def extent_mm(self) -> float:
        """From the first slice to the last."""
        return float(np.ptp(heights(self.headers)))

    @cached_property
    def thickness_mm(self) -> float:
        """SliceThickness, or the median step where it is not given."""
        known = [header.thickness for header in self.headers if header.thickness]
        return float(np.median(known or np.diff(np.sort(heights(self.headers)))))

    @property
    def derived(self) -> bool:
        """ImageType says that it was made from other images."""
        return self.headers[0].image_type[:1] == ("DERIVED",)

    @property
    def softness(self) -> int:
        """0 for a sharp kernel, 2 for a soft one, 1 where that is not known."""
        kernel = self.headers[0].kernel.split("\\")[0].strip().upper()
        numbered = _NUMBERED.fullmatch(kernel)
        if numbered:
            return 0 if _is_sharp(numbered[1], int(numbered[2])) else 2
        return 0 if _SHARP.search(kernel) else 2 if _SOFT.search(kernel) else 1

    @property
    def hint(self) -> int:
        """0 where words of the header say neck, 2 where they say only another part, 1 where they say neither."""
        words = self.headers[0].words
        return 0 if _NECK.search(words) else 2 if _ELSEWHERE.search(words) else 1

    @property
    def order(self) -> tuple[object, ...]:
        """Settles ties: series number, first instance number, UIDs, positions and names."""
        first = min(self.headers, key=taken_order)
        number = float("inf") if first.series_number is None else first.series_number
        instance = taken_order(first)[0]
        return number, instance, first.series_uid, first.sop_instance, first.position, first.name


def _is_sharp(family: str, number: int) -> bool:
    if family == "FC":
        return 30 <= number <= 59 or number >= 80
    return number >= _SHARP_NUMBER


@dataclass(frozen=True)
class Choice:
    """Candidates in order.

    Attributes:
        ranked: all of them.
        equal: the first of them among which something else than headers may decide.
        why: says of the chosen candidate and another one why it is not the other.
    """

    ranked: list[Candidate]
    equal: int
    why: Callable[[Candidate, Candidate], str]

    @property
    def best(self) -> list[Candidate]:
        """The candidates among which something else than headers may decide."""
        return self.ranked[: self.equal]

    def reasons(self, chosen: Candidate) -> list[tuple[Candidate, str]]:
        """Say of every candidate but the chosen one why it is not used."""
        return [(other, self.why(chosen, other)) for other in self.ranked if other is not chosen]


Choose = Callable[[Sequence[Candidate]], Choice]

_CRITERIA: tuple[tuple[str, Callable[[Candidate], float]], ...] = (
    ("derived from other images", lambda candidate: candidate.derived),
    ("thicker slices", lambda candidate: round(candidate.thickness_mm / _THICKNESS_STEP_MM)),
    ("a softer kernel", lambda candidate: candidate.softness),
    ("fewer slices", lambda candidate: -len(candidate.headers)),
    ("another part of the body by its description", lambda candidate: candidate.hint),
)
_TECHNICAL = 3
"""Criteria that say which reconstruction is the better one, wherever it is."""


def most_slices(candidates: Sequence[Candidate]) -> Choice:
    """Take the stack with the most slices, as the challenge's studies are read."""
    ranked = sorted(candidates, key=lambda candidate: (-len(candidate.headers), candidate.order))
    return Choice(ranked, 1, _why_by_slices)


def for_the_neck(candidates: Sequence[Candidate]) -> Choice:
    """Rank stacks as a reader of the cervical spine would: original, thin, sharp, many slices; words settle a tie.

    Several are ``best`` where words contradict (another candidate is rather said to be of the neck than the first), or
    where only the number of slices tells candidates apart, which may be those of a chest.
    """
    longest = max(candidate.extent_mm for candidate in candidates)
    tall = [candidate for candidate in candidates if candidate.extent_mm >= min(LONG_MM, longest)]
    ranked = sorted(tall, key=lambda candidate: (_merits(candidate), candidate.order))
    first = ranked[0]
    contradicting = [other for other in ranked[1:] if other.hint < first.hint]
    equal = [c for c in ranked[1:] if _merits(c)[:_TECHNICAL] == _merits(first)[:_TECHNICAL] and c.hint == first.hint]
    doubtful = [first, *(contradicting or equal)][:_MOST_COMPARED]
    rest = [candidate for candidate in ranked if candidate not in doubtful]
    short = sorted((c for c in candidates if c not in tall), key=lambda candidate: candidate.order)
    return Choice([*doubtful, *rest, *short], len(doubtful), _why)


def the_series(uid: str, candidates: Sequence[Candidate]) -> Choice:
    """Take the best stack of a series that a person names; where the study does not have it, choose as without."""
    named = [candidate for candidate in candidates if candidate.headers[0].series_uid == uid]
    if not named:
        return for_the_neck(candidates)
    others = [candidate for candidate in candidates if candidate not in named]
    return Choice([*for_the_neck(named).ranked, *others], 1, lambda chosen, other: "not the series asked for")


def _merits(candidate: Candidate) -> tuple[float, ...]:
    return tuple(criterion(candidate) for _, criterion in _CRITERIA)


def _why_by_slices(chosen: Candidate, other: Candidate) -> str:
    return "fewer slices" if len(other.headers) < len(chosen.headers) else "as many slices, later in order"


def _why(chosen: Candidate, other: Candidate) -> str:
    if other.extent_mm < min(LONG_MM, chosen.extent_mm):
        return f"{other.extent_mm:.0f} mm tall"
    differing = (pair for pair in _CRITERIA if pair[1](chosen) != pair[1](other))
    first = next(differing, None)
    if first is not None and first[1](chosen) < first[1](other):
        return first[0]
    return "no more vertebrae of the neck in its mask"


def plain_text(text: str, longest: int) -> str:
    """Return the text of a tag without unusual characters, and not longer than ``longest``."""
    return _UNUSUAL.sub("", text)[:longest].strip()


def series_facts(candidate: Candidate, why_not: str) -> SeriesFacts:
    """Return what a record says of a stack: no text but its UID, and its kernel without unusual characters."""
    first = candidate.headers[0]
    return SeriesFacts(
        series=first.series_uid if is_uid(first.series_uid) else "",
        number=None if first.series_number is None else int(first.series_number),
        kernel=plain_text(first.kernel, 16),
        thickness_mm=round(candidate.thickness_mm, 3),
        slices=len(candidate.headers),
        why_not=why_not,
    )
