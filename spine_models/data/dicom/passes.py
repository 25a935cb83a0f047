"""Several passes over the same region in one series: which slices belong together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from spine_models.data.dicom.geometry import SAME_POSITION_MM, heights, lies_regularly
from spine_models.data.dicom.headers import SliceHeader

_COVERED = 0.9
"""Part of a stack's extent that a run must cover where other runs are too short to be passes."""
_SUBSTANTIAL = 0.25
"""Part of a stack's extent that the largest of its passes covers at least; the rotations of a step-and-shoot scan,
which overlap at their edges, cover less."""
_MAIN = 0.5
"""Part of the slices that the largest of several groups has which follow each other without overlap."""
_FEW = 3
"""Slices from which on a group can be seen to be regular."""

Stack = Sequence[SliceHeader]
Groups = list[list[SliceHeader]]
Accepts = Callable[[Groups, Stack], bool]


@dataclass(frozen=True)
class Pass:
    """Slices of a stack that belong together, each position once.

    Attributes:
        headers: the slices.
        told_by: what tells them from the other passes of the stack; "" where the stack is one pass.
        certain: the headers say which slices belong together. If not, slices at one position are told apart only
            by their names, which is good enough for copies of the same slice and for nothing else.
    """

    headers: list[SliceHeader]
    told_by: str = ""
    certain: bool = True


@dataclass(frozen=True)
class _Tell:
    """Something in the headers that may differ between passes: a label for each slice of a stack, None if absent."""

    name: str
    labels: Callable[[Stack], list[Any]]


_Way = tuple[Accepts, tuple[_Tell, ...]]


def identity(header: SliceHeader) -> tuple[str, int]:
    """Return what tells a slice from all others of its folder."""
    return header.name, header.frame


def taken_order(header: SliceHeader) -> tuple[float, list[tuple[int, str]], int]:
    """Order of acquisition as far as numbers and names tell: used to tell passes apart, never to order slices."""
    instance = float("inf") if header.instance is None else header.instance
    return instance, _natural(header.name), header.frame


def split_passes(stack: Stack) -> list[Pass]:
    """Split a stack into passes, none of which holds slices of two.

    A regular stack with each position once is one pass, unless a number that differs between scans or reconstructions
    (or two runs of instance numbers) divides it into regular stacks that interleave, or slices that such a number tells
    apart lie between one another, as where each pass lost what the other has. Where positions occur twice or
    steps are irregular, a grouping that the headers give is preferred whose largest group is regular; then one whose
    groups overlap, each of which is split further; then runs in one direction of times, numbers, UIDs or names. Only
    where every position occurs equally often does the order of the instance numbers at each position count.
    """
    repeated = len(set(_position_ids(stack))) < len(stack)
    found = _first(_REGULAR if not repeated and lies_regularly(stack) else _IRREGULAR, stack)
    if found:
        name, groups = found
        return [replace(part, told_by=part.told_by or name) for group in groups for part in split_passes(group)]
    if repeated:
        return [Pass(group, certain=False) for group in _grouped(stack, _ranks(stack))]
    return [Pass(list(stack))]


def repeats_of(best: Stack, stack: Stack) -> list[tuple[int, SliceHeader]]:
    """Return the slices of ``stack`` at positions of its pass ``best``, each with the index of its twin there."""
    used = {identity(header): index for index, header in enumerate(best)}
    pairs = list(zip(stack, _position_ids(stack), strict=True))
    twin = {number: used[identity(header)] for header, number in pairs if identity(header) in used}
    return [(twin[number], header) for header, number in pairs if identity(header) not in used and number in twin]


def _first(ways: Iterable[_Way], stack: Stack) -> tuple[str, Groups] | None:
    """Return the name and the groups of the first way to split a stack that is accepted."""
    for accepts, tells in ways:
        for tell in tells:
            groups = _grouped(stack, tell.labels(stack))
            if len(groups) > 1 and accepts(groups, stack):
                return tell.name, groups
    return None


def _grouped(stack: Stack, labels: Iterable[object]) -> Groups:
    groups: dict[object, list[SliceHeader]] = defaultdict(list)
    for header, label in zip(stack, labels, strict=True):
        groups[label].append(header)
    return list(groups.values())


def _interleave(groups: Groups, stack: Stack) -> bool:
    """Say whether all groups are regular stacks, and two of them in the same region."""
    if any(len(group) < _FEW or not _is_pass(group) for group in groups):
        return False
    return any(_share_region(one, other) for one, other in pairwise(sorted(groups, key=lambda g: heights(g).min())))


def _one_is_regular(groups: Groups, stack: Stack) -> bool:
    """Say whether the largest group is a regular part of the stack that matters, and others overlap it."""
    return _is_pass(max(groups, key=len)) and _overlap(groups, stack)


def _overlap(groups: Groups, stack: Stack) -> bool:
    largest = max(groups, key=len)
    shared = any(_share_region(largest, other) for other in groups if other is not largest)
    return shared and _part(largest, stack) >= _SUBSTANTIAL


def _one_is_main(groups: Groups, stack: Stack) -> bool:
    """Say whether one of several groups that follow each other is regular and has most of the slices."""
    largest = max(groups, key=len)
    return len(largest) >= max(_FEW, _MAIN * len(stack)) and _is_pass(largest)


def _one_covers(groups: Groups, stack: Stack) -> bool:
    """Say whether the largest group has every position, or is regular and covers nearly all of the stack."""
    largest = max(groups, key=len)
    if len(largest) == len(set(_position_ids(stack))):
        return len(set(_position_ids(largest))) == len(largest)
    return _is_pass(largest) and _part(largest, stack) >= _COVERED


def _is_complete(groups: Groups, stack: Stack) -> bool:
    positions = len(set(_position_ids(stack)))
    return all(len(group) == positions for group in groups)


def _is_pass(group: Stack) -> bool:
    return len(set(_position_ids(group))) == len(group) and lies_regularly(group)


def _part(group: Stack, stack: Stack) -> float:
    return float(np.ptp(heights(group)) / max(np.ptp(heights(stack)), SAME_POSITION_MM))


def _share_region(one: Stack, other: Stack) -> bool:
    """Say whether the extents of two groups overlap, were it in one position."""
    first, second = heights([*one, *other])[: len(one)], heights([*one, *other])[len(one) :]
    return bool(first.min() <= second.max() + SAME_POSITION_MM and second.min() <= first.max() + SAME_POSITION_MM)


def _position_ids(stack: Stack) -> list[int]:
    """Number the positions of a stack: slices closer than the tolerance along the normal have the same number."""
    along = heights(stack)
    order = np.argsort(along, kind="stable")
    numbers = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_POSITION_MM)])
    ids = np.empty(len(stack), dtype=np.int64)
    ids[order] = numbers
    return [int(value) for value in ids]


def _natural(text: str) -> list[tuple[int, str]]:
    """Split a text so that the numbers in it compare as numbers."""
    pieces = [piece for piece in re.split(r"([0-9]+)", text) if piece]
    return [(int(piece), "") if re.fullmatch("[0-9]+", piece) else (-1, piece) for piece in pieces]


def _runs(stack: Stack, place: Callable[[SliceHeader], Any]) -> list[Any]:
    """Number the runs in which positions go one way as the place in the order of acquisition rises."""
    along = heights(stack)
    order = sorted(range(len(stack)), key=lambda i: place(stack[i]))
    labels: list[Any] = [0] * len(stack)
    run, direction = 0, 0.0
    for before, after in pairwise(order):
        step = float(np.sign(np.round((along[after] - along[before]) / SAME_POSITION_MM)))
        if step == 0 or direction not in (0.0, step):
            run, direction = run + 1, 0.0
        else:
            direction = step
        labels[after] = run
    return labels


def _ranks(stack: Stack) -> list[Any]:
    """Number the slices at each position in the order in which they were taken."""
    ids = _position_ids(stack)
    seen: Counter[int] = Counter()
    labels: list[Any] = [0] * len(stack)
    for index in sorted(range(len(stack)), key=lambda i: taken_order(stack[i])):
        labels[index] = seen[ids[index]]
        seen[ids[index]] += 1
    return labels


def _numbered_ranks(stack: Stack) -> list[Any]:
    """As ``_ranks``, where only instance numbers decide; otherwise one label for all."""
    places = zip(_position_ids(stack), (header.instance for header in stack), strict=True)
    distinct = len(set(places)) == len(stack) and all(header.instance is not None for header in stack)
    return _ranks(stack) if distinct else [0] * len(stack)


def _each(name: str, label: Callable[[SliceHeader], Any]) -> _Tell:
    return _Tell(name, lambda stack: [label(header) for header in stack])


def _complete(tell: _Tell) -> _Tell:
    """A tell that is silent where some slices lack the label: they may belong to any group."""

    def labels(stack: Stack) -> list[Any]:
        found = tell.labels(stack)
        return [None] * len(stack) if None in found else found

    return _Tell(tell.name, labels)


def _ordered(name: str, place: Callable[[SliceHeader], Any]) -> _Tell:
    return _Tell(name, lambda stack: _runs(stack, place))


_SCAN_LABELS = (
    _each("acquisition number", lambda header: header.acquisition),
    _each("temporal position", lambda header: header.temporal),
    _each("tube voltage", lambda header: header.tube_voltage),
    _each("kernel", lambda header: header.kernel or None),
    _each("image type", lambda header: header.image_type or None),
    _each("stack", lambda header: header.stack or None),
)
"""What never alternates within one scan."""
_LOOSE_LABELS = (
    _each("series number", lambda header: header.series_number),
    _each("acquisition time", lambda header: header.acquisition_time),
    _each("slice thickness", lambda header: header.thickness),
    _each("frame of reference", lambda header: header.frame_of_reference),
)
"""What may differ within one scan: only groups that are regular each, in the same region, are told apart by it."""
_INSTANCE_RUNS = _ordered("order of instance numbers", taken_order)
_RUNS = (
    _INSTANCE_RUNS,
    _ordered("order of acquisition times", lambda header: header.acquisition_time),
    _ordered("order of SOP instance UIDs", lambda header: _natural(header.sop_instance)),
    _ordered("order of file names", lambda header: _natural(header.name)),
)
_REGULAR: tuple[_Way, ...] = (
    (_interleave, (*map(_complete, _SCAN_LABELS), _INSTANCE_RUNS)),
    (_overlap, tuple(map(_complete, _SCAN_LABELS))),
)
_IRREGULAR: tuple[_Way, ...] = (
    (_one_is_regular, _SCAN_LABELS),
    (_interleave, _LOOSE_LABELS),
    (_overlap, _SCAN_LABELS),
    (_one_covers, _RUNS),
    (_interleave, _RUNS),
    (_one_is_main, _SCAN_LABELS),
    (_is_complete, (_Tell("order of instance numbers at each position", _numbered_ranks),)),
)
