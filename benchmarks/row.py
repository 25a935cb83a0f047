"""One line of ``make bench``: ours beside something else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Two figures that were measured side by side in one run.

    Attributes:
        name: what was measured, with its unit.
        ours: figure of this project.
        other: figure of what it is compared with; None where only a limit is asked for.
        ratio: how they compare; the module that measures says in ``name`` which way.
        target: what the ratio is asked to reach; None where the figure is only reported.
        ok: whether the target is reached, True without one.
    """

    name: str
    ours: float
    other: float | None
    ratio: float | None
    target: float | None
    ok: bool


def at_least(name: str, ours: float, other: float, ratio: float, target: float | None) -> Row:
    """Return a row whose ratio should reach ``target``; figures are rounded to four significant digits."""
    ours, other, shown = (float(f"{value:.4g}") for value in (ours, other, ratio))
    return Row(name, ours, other, shown, target, target is None or ratio >= target)


def at_most(name: str, ours: float, other: float, ratio: float, target: float | None) -> Row:
    """Return a row whose ratio should not exceed ``target``; figures are rounded to four significant digits."""
    ours, other, shown = (float(f"{value:.4g}") for value in (ours, other, ratio))
    return Row(name, ours, other, shown, target, target is None or ratio <= target)
