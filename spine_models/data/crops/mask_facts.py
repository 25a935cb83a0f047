"""What a mask shows, as its record keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spine_models.data.crops.boxes import Box, LevelStatus
from spine_models.provenance.facts import Facts


class FlagCode(StrEnum):
    """Everything that a mask can be flagged for."""

    NO_LEVEL = "no_level"
    """The mask shows no vertebra: the study's prediction is the training prior."""
    GAP = "gap"
    """A level is missing between two visible ones."""
    INTERPOLATED = "interpolated"
    """The box of a missing level was interpolated between its visible neighbours."""
    OUT_OF_ORDER = "out_of_order"
    """A level's centre is not below that of the visible level above it."""
    SEVERAL_COMPONENTS = "several_components"
    """A level consists of parts that do not touch, each too large to be removed."""
    TOO_SMALL = "too_small"
    """A level is smaller than a vertebra can be, and the volume's end does not explain it."""
    TOO_LARGE = "too_large"
    """A level is larger than a vertebra can be."""
    CUT_OFF = "cut_off"
    """A level touches the first or the last slice: part of it may be outside the volume."""


@dataclass(frozen=True)
class Flag:
    """One remark on a mask.

    Attributes:
        code: of the closed list.
        level: which level it is about; empty if it is about the whole mask.
        sentence: for the person who reads the report.
    """

    code: FlagCode
    level: str
    sentence: str


@dataclass(frozen=True)
class MaskFacts(Facts):
    """What a mask shows.

    Attributes:
        levels: status of every level.
        boxes: of the visible and interpolated levels, on the mask's grid.
        voxels: of the visible levels.
        flags: what looks wrong.
        models: names of the networks that predicted it.
        overflowed: whether half precision overflowed, so that it was computed again in float32.
    """

    levels: dict[str, LevelStatus]
    boxes: dict[str, Box]
    voxels: dict[str, int]
    flags: tuple[Flag, ...]
    models: tuple[str, ...] = ()
    overflowed: bool = False
