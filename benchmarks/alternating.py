"""Two ways to do the same work, timed in turns in one process, so that a busy machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2

from benchmarks.row import Row, at_least

_ROUNDS = 5


@dataclass
class Times:
    """Seconds of each round."""

    ours: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    def row(self, name: str, target: float | None) -> Row:
        """Return a row of the medians in milliseconds, with the median of the rounds' ratios and their spread."""
        ratios = [other / ours for ours, other in zip(self.ours, self.other, strict=True)]
        spread = f"{name}, ms; {min(ratios):.2f} to {max(ratios):.2f} times as fast"
        medians = (1e3 * statistics.median(times) for times in (self.ours, self.other))
        return at_least(spread, *medians, statistics.median(ratios), target)


def alternating(
    ours: Callable[[], object], other: Callable[[], object], rounds: int = _ROUNDS, *, warm: bool = True
) -> Times:
    """Time both ways in turns, after one round that is not counted unless ``warm`` is False."""
    times = Times()
    for number in range(not warm, rounds + 1):
        for way, seconds in ((ours, times.ours), (other, times.other)):
            begin = time.perf_counter()
            way()
            if number:
                seconds.append(time.perf_counter() - begin)
    return times


@contextmanager
def opencv_on_one_thread() -> Iterator[None]:
    """Let OpenCV compute on one thread in the block, for either way."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
