"""Which slices may be one stack: of one study, patient, series, size, orientation and spacing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from spine_models.data.dicom.geometry import CURVED
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.passes import taken_order
from spine_models.data.dicom.patients import known_patient

_TURN_DEGREES = 10.0
"""Largest turn from one slice to the next within a stack."""
_MOST = 0.75
"""Part of a stack that has one orientation from which on the rest does not belong to it."""
_FEW = 3
"""Slices from which on a series UID for each of them is not a series."""
_SAME_SPACING = 1e-3
"""Relative difference of pixel spacings that are the same."""


def stacks_of(headers: Iterable[SliceHeader]) -> list[list[SliceHeader]]:
    """Group slices, whose geometry must be usable, into stacks; a stack may still hold several passes."""
    return [stack for group in _by_series(headers) for stack in _by_orientation(group)]


def _by_series(headers: Iterable[SliceHeader]) -> list[list[SliceHeader]]:
    """Group slices of one study, patient, series and size.

    Frames of reference do not part slices: some scanners and anonymisers give each slice its own. A UID that
    only some slices lack is that of the others, where there is only one. Series of one slice each are taken for one
    series whose UIDs were made anew for every file.
    """
    sizes: dict[tuple[int, int], list[SliceHeader]] = defaultdict(list)
    for header in headers:
        sizes[(header.rows, header.columns)].append(header)
    groups: dict[tuple[object, ...], list[SliceHeader]] = defaultdict(list)
    for size, alike in sizes.items():
        studies = _completed(alike, [header.study_uid for header in alike])
        patients = _completed(alike, [known_patient(header.patient_id) for header in alike])
        series = _completed(alike, [header.series_uid for header in alike])
        single = {uid for uid, count in Counter(series).items() if count == 1}
        series = ["" if uid in single and len(single) >= _FEW else uid for uid in series]
        for header, *whose in zip(alike, studies, patients, series, strict=True):
            groups[(*size, *whose)].append(header)
    return list(groups.values())


def _completed(headers: Sequence[SliceHeader], values: Sequence[str]) -> list[str]:
    """Fill empty values in where all other slices, or all others of the same orientation, have one and the same."""
    known: dict[object, set[str]] = defaultdict(set)
    for header, value in zip(headers, values, strict=True):
        if value:
            known[header.orientation].add(value)
            known[None].add(value)

    def filled(header: SliceHeader, value: str) -> str:
        sets = [known[key] for key in (header.orientation, None) if len(known[key]) == 1]
        return value or (next(iter(sets[0])) if sets else "")

    return [filled(header, value) for header, value in zip(headers, values, strict=True)]


def _by_orientation(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Split a series where orientation or spacing jump; a curved reformat, which turns slowly, stays together."""
    stacks: list[list[SliceHeader]] = []
    for header in sorted(headers, key=taken_order):
        stack = next((stack for stack in stacks if _continues(stack[-1], header)), None)
        if stack is None:
            stacks.append([header])
        else:
            stack.append(header)
    return [part for stack in stacks for part in _without_strangers(stack)]


def _without_strangers(stack: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Take slices out of a stack of one orientation that have another: damage, or a slice of a neighbouring stack.

    In a curved reformat there is no orientation that most slices have, and it stays whole.
    """
    if all(header.orientation == stack[0].orientation for header in stack):
        return [stack]
    axes = np.array([header.orientation for header in stack], dtype=np.float64)
    usual = np.abs(axes - np.median(axes, axis=0)).max(axis=1) <= CURVED
    if not _MOST <= usual.mean() < 1:
        return [stack]
    own = [header for header, is_usual in zip(stack, usual, strict=True) if is_usual]
    return [own, [header for header, is_usual in zip(stack, usual, strict=True) if not is_usual]]


def _continues(before: SliceHeader, header: SliceHeader) -> bool:
    if before.orientation == header.orientation and before.spacing == header.spacing:
        return True
    axes = np.array([before.orientation, header.orientation], dtype=np.float64).reshape(2, 2, 3)
    spacing = np.array([before.spacing, header.spacing], dtype=np.float64)
    turned = (axes[0] * axes[1]).sum(axis=1).min() < np.cos(np.radians(_TURN_DEGREES))
    return not turned and bool(np.ptp(np.log(spacing), axis=0).max() <= _SAME_SPACING)
