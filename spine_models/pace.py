"""How far a long job is, at what rate, and how long the rest takes: lines in a log, a bar at a terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from spine_models.log import say

T = TypeVar("T")

EVERY_S = 30.0
"""Seconds between two lines; a job that is shorter says nothing."""
_RECENT_S = 300.0
"""The rate is that of the last so many seconds: what was found finished at the start took no time."""


class Pace:
    """Counts what is done and says from time to time how long the rest takes."""

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = "studies",
        *,
        every: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start now.

        Args:
            what: is done: the beginning of each line.
            total: how many there are.
            unit: of what.
            every: seconds between two lines; None: ``EVERY_S``.
            clock: gives seconds that only grow.
        """
        self._what, self._total, self._unit, self._clock = what, total, unit, clock
        self._every = EVERY_S if every is None else every
        self._seen = deque([(clock(), 0)])
        self._said = clock()

    def line(self, done: int) -> str | None:
        """Return a line if one is due.

        Args:
            done: how many are finished.
        """
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[0][0] < now - _RECENT_S:
            self._seen.popleft()
        if now - self._said < self._every or done >= self._total:
            return None
        self._said = now
        since, before = self._seen[0]
        rate = (done - before) / (now - since) if now > since else 0.0
        left = f", {60 * rate:.3g} a minute, about {_duration((self._total - done) / rate)} left" if rate else ""
        return f"{self._what}: {done} of {self._total} {self._unit}{left}"


def paced(items: Collection[T], what: str, unit: str = "studies") -> Iterator[T]:
    """Yield ``items`` as they are, and say how far one is: in a line now and then, or by a bar at a terminal.

    Args:
        items: to work through.
        what: is done with them.
        unit: of what they are, for many.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, what, console=Console(stderr=True), transient=True)
        return
    pace = Pace(what, len(items), unit)
    for number, item in enumerate(items, start=1):
        yield item
        line = pace.line(number)
        if line:
            say(line)


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
