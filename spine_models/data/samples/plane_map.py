"""What a draw of the augmentation does to a plane: the steps that Albumentations drew, composed into one map.

A step is known by where each pixel of its result comes from. Composed from the last to the first, the steps say where
each pixel of the augmented slice lies in the slice before, and one interpolation takes it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]
"""(2, y, x): for each pixel of a slice, the column and the row where it is found, in pixels of another."""
Share = NDArray[np.float64]
"""(y, x): 0 to 1."""
V = TypeVar("V", bound=np.generic)


@dataclass(frozen=True)
class PlaneMap:
    """The steps of one draw, in the order in which they are applied.

    Attributes:
        steps: name of the transform, and the parameters that were drawn for it.
    """

    steps: tuple[tuple[str, Mapping[str, Any]], ...]

    @property
    def exact(self) -> bool:
        """No step interpolates: pixels change places."""
        return all(name in _REARRANGING for name, _ in self.steps)

    def rearranged(self, slices: NDArray[V]) -> NDArray[V]:
        """Apply the steps, which are exact, to (z, y, x)."""
        for name, drawn in self.steps:
            moved = np.empty_like(slices)
            for plane, out in zip(slices, moved, strict=True):
                _REARRANGING[name](plane, drawn, out)
            slices = moved
        return slices

    def positions(self, side: tuple[int, int]) -> tuple[Positions, Share | None]:
        """Return where the pixels of augmented slices of ``side`` (rows, columns) lie in slices of the same size.

        What a step moves out of the slice is lost to the next one, which finds the fill there. So a share comes with
        the positions: how much of a pixel is of the slices between two steps that interpolate; None where there are
        none between.

        Raises:
            ValueError: if a distortion, which is known at whole pixels alone, is followed by another step.
        """
        rows, columns = side
        found = np.stack(np.meshgrid(np.arange(columns, dtype=np.float64), np.arange(rows, dtype=np.float64)))
        share, moved = None, False
        for number, (name, drawn) in enumerate(reversed(self.steps)):
            if number and name in _DISTORTIONS:
                raise ValueError(f"{name} has to be the last of the transforms")
            if name not in _REARRANGING:
                if moved:
                    here = share_of(found, (0, 0), (columns, rows))
                    share = here if share is None else share * here
                moved = True
            found = _SOURCES[name](found, drawn, side)
        return found, share


def share_of(at: Positions, corner: tuple[int, int], extent: tuple[int, int]) -> Share:
    """Return the weight that linear interpolation gives to the pixels of a rectangle, whose corner is (x, y)."""
    share = np.ones(at.shape[1:])
    for where, first, count in zip(at, corner, extent, strict=True):
        share *= np.clip(np.minimum(where - (first - 1), first + count - where), 0.0, 1.0)
    return share


def plane_map(replay: Mapping[str, Any]) -> PlaneMap:
    """Return the steps that ``ReplayCompose`` recorded as applied."""
    return PlaneMap(tuple(_applied(replay)))


def _applied(part: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not part["applied"]:
        return
    if "transforms" in part:
        for inner in part["transforms"]:
            yield from _applied(inner)
    else:
        yield part["__class_fullname__"].rpartition(".")[2], part["params"]


def _affine(found: Positions, drawn: Mapping[str, Any], side: tuple[int, int]) -> Positions:
    back = np.linalg.inv(drawn["matrix"])
    moved: Positions = np.tensordot(back[:2, :2], found, 1) + back[:2, 2, None, None]
    return moved


def _left_right(found: Positions, drawn: Mapping[str, Any], side: tuple[int, int]) -> Positions:
    return np.stack([side[1] - 1 - found[0], found[1]])


def _front_back(found: Positions, drawn: Mapping[str, Any], side: tuple[int, int]) -> Positions:
    return np.stack([found[0], side[0] - 1 - found[1]])


def _turn(found: Positions, drawn: Mapping[str, Any], side: tuple[int, int]) -> Positions:
    for _ in range(drawn["factor"]):  # counter-clockwise; the slices are square
        found = np.stack([side[1] - 1 - found[1], found[0]])
    return found


def _distortion(found: Positions, drawn: Mapping[str, Any], side: tuple[int, int]) -> Positions:
    return np.stack([drawn["map_x"], drawn["map_y"]]).astype(np.float64)


def _turned(plane: NDArray[Any], drawn: Mapping[str, Any], out: NDArray[Any]) -> None:
    if drawn["factor"]:
        cv2.rotate(plane, _TURNS[drawn["factor"]], dst=out)
    else:
        out[:] = plane


# OpenCV turns and flips five times as fast as a copy of numpy's view.
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
_REARRANGING: dict[str, Callable[[NDArray[Any], Mapping[str, Any], NDArray[Any]], object]] = {
    "HorizontalFlip": lambda plane, drawn, out: cv2.flip(plane, 1, dst=out),
    "VerticalFlip": lambda plane, drawn, out: cv2.flip(plane, 0, dst=out),
    "RandomRotate90": _turned,
}
_DISTORTIONS = ("GridDistortion", "ElasticTransform")
_SOURCES: dict[str, Callable[[Positions, Mapping[str, Any], tuple[int, int]], Positions]] = {
    "Affine": _affine,
    "HorizontalFlip": _left_right,
    "VerticalFlip": _front_back,
    "RandomRotate90": _turn,
    **dict.fromkeys(_DISTORTIONS, _distortion),
}
