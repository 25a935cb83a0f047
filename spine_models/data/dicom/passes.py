"""Several passes over the same region in one series: which slices belong together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from spine_models.data.dicom.geometry import SAME_POSITION_MM, heights, lies_regularly
from spine_models.data.dicom.headers import SliceHeader

_COVERED = 0.9
"""Part of a stack's extent that a pass must cover to be taken out of slices that make no regular stack together."""

Stack = Sequence[SliceHeader]


@dataclass(frozen=True)
class Split:
    """The passes of a stack.

    Attributes:
        passes: each position once in each.
        told_apart: the headers say which slices belong together. If not, slices at one position are told apart by
            their names alone, which is good enough for copies of the same slice and for nothing else.
    """

    passes: list[list[SliceHeader]]
    told_apart: bool = True


def identity(header: SliceHeader) -> tuple[str, int]:
    """Return what tells a slice from all others of its folder."""
    return header.name, header.frame


def taken_order(header: SliceHeader) -> tuple[float, list[tuple[int, str]], int]:
    """Order of acquisition as far as numbers and names tell: used to tell passes apart, never to order slices."""
    instance = float("inf") if header.instance is None else header.instance
    return instance, _natural(header.name), header.frame


def split_passes(stack: Stack) -> Split:
    """Split a stack into passes.

    Where positions occur twice, the passes are told apart by the first of these that leaves one pass with every
    position: acquisition number, temporal position, tube voltage, kernel, image type, runs in one direction of
    instance numbers, of SOP instance UIDs or of names, and at last the order of the instance numbers at each position.
    Where no position occurs twice but the steps are irregular, likewise, if that gives a pass with regular steps that
    covers the stack.
    """
    positions = len(set(_position_ids(stack)))
    if positions < len(stack):
        found = next((groups for groups in _separated(stack) if _separates(groups, positions)), None)
        return Split(found) if found else Split(_grouped(stack, _ranks(stack)), told_apart=False)
    if lies_regularly(stack):
        return Split([list(stack)])
    covering = (groups for groups in _separated(stack) if _covers(max(groups, key=len), stack))
    return Split(next(covering, [list(stack)]))


def repeats_of(best: Stack, stacks: Iterable[Stack]) -> list[tuple[int, SliceHeader]]:
    """Return the slices at the positions of the pass ``best``, each with the index of its twin there."""
    used = {identity(header): index for index, header in enumerate(best)}
    stack = next(stack for stack in stacks if identity(best[0]) in {identity(header) for header in stack})
    ids = _position_ids(stack)
    pairs = list(zip(stack, ids, strict=True))
    twin = {number: used[identity(header)] for header, number in pairs if identity(header) in used}
    return [(twin[number], header) for header, number in pairs if identity(header) not in used and number in twin]


def _separated(stack: Stack) -> Iterator[list[list[SliceHeader]]]:
    for separate in _SEPARATIONS:
        yield _grouped(stack, separate(stack))


def _grouped(stack: Stack, labels: Iterable[object]) -> list[list[SliceHeader]]:
    groups: dict[object, list[SliceHeader]] = defaultdict(list)
    for header, label in zip(stack, labels, strict=True):
        groups[label].append(header)
    return list(groups.values())


def _separates(groups: Sequence[Stack], positions: int) -> bool:
    whole = max(len(group) for group in groups) == positions
    return whole and all(len(set(_position_ids(group))) == len(group) for group in groups)


def _covers(part: Stack, stack: Stack) -> bool:
    return bool(np.ptp(heights(part)) >= _COVERED * np.ptp(heights(stack))) and lies_regularly(part)


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


def _runs(stack: Stack, place: Callable[[SliceHeader], Any]) -> list[object]:
    """Number the runs in which positions go one way as the place in the order of acquisition rises."""
    along = heights(stack)
    order = sorted(range(len(stack)), key=lambda i: place(stack[i]))
    labels: list[object] = [0] * len(stack)
    run, direction = 0, 0.0
    for before, after in pairwise(order):
        step = float(np.sign(np.round((along[after] - along[before]) / SAME_POSITION_MM)))
        if step == 0 or direction not in (0.0, step):
            run, direction = run + 1, 0.0
        else:
            direction = step
        labels[after] = run
    return labels


def _ranks(stack: Stack) -> list[object]:
    """Number the slices at each position in the order in which they were taken."""
    ids = _position_ids(stack)
    seen: Counter[int] = Counter()
    labels: list[object] = [0] * len(stack)
    for index in sorted(range(len(stack)), key=lambda i: taken_order(stack[i])):
        labels[index] = seen[ids[index]]
        seen[ids[index]] += 1
    return labels


def _numbered_ranks(stack: Stack) -> list[object]:
    """As ``_ranks``, where instance numbers alone decide; otherwise one label for all."""
    places = zip(_position_ids(stack), (header.instance for header in stack), strict=True)
    distinct = len(set(places)) == len(stack) and all(header.instance is not None for header in stack)
    return _ranks(stack) if distinct else [0] * len(stack)


_SEPARATIONS: tuple[Callable[[Stack], list[object]], ...] = (
    lambda stack: [header.acquisition for header in stack],
    lambda stack: [header.temporal for header in stack],
    lambda stack: [header.tube_voltage for header in stack],
    lambda stack: [header.kernel for header in stack],
    lambda stack: [header.image_type for header in stack],
    lambda stack: _runs(stack, taken_order),
    lambda stack: _runs(stack, lambda header: _natural(header.sop_instance)),
    lambda stack: _runs(stack, lambda header: _natural(header.name)),
    _numbered_ranks,
)
