"""The crop of the spine that is stored for a study, and the windows that are cut from it.

Two grids with the same slices: the full grid of the volume and the half grid of the mask, whose plane is smaller
by ``half_factor`` (half pixels for each full pixel; 0.5 for 512 x 512). Both have their origin at the outer corner
of the first pixel, so that an edge at ``e`` on the half grid is at ``e / half_factor`` on the full one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.boxes import Box, LevelStatus, box_from_json, box_slices, corner_of, level_voxels, union_of
from spine_models.data.crops.windows import validation_window_starts, window_reach
from spine_models.hounsfield import AIR_HU, whole_hu
from spine_models.levels import LEVELS

if TYPE_CHECKING:  # a new fact of a volume or a mask is not part of a classifier's key
    from spine_models.data.crops.mask_facts import MaskFacts
    from spine_models.data.volume_facts import VolumeFacts

F = TypeVar("F", np.float32, np.uint8)


@dataclass(frozen=True)
class CropSettings:
    """Section ``crops`` of the configuration.

    Attributes:
        margin: pixels of the half grid added in the plane on each side of a vertebra's box.
        depth: slices of a window.
        size: side of a window in pixels.
        min_voxels: voxels of the half grid below which a vertebra is not used.
        visible_fraction: share of a vertebra that has to be in a training window for its label to count.
        clamp_start: validation windows begin at the volume's first slice at the earliest, so that one near the top is
            not centred; what the published networks were applied to (method, published checkpoints).
        plane_fill: beside an image in its window, "air" or "raw_zero", the HU of the stored value 0.
        z_fill: slices beyond the volume, "air" or "mean", which is 0 once standardised (to half a HU, as all values).
    """

    margin: int
    depth: int
    size: int
    min_voxels: int
    visible_fraction: float
    clamp_start: bool = False
    plane_fill: Literal["air", "raw_zero"] = "air"
    z_fill: Literal["air", "mean"] = "air"


@dataclass(frozen=True)
class SpineCrop:
    """What the classifier sees of a study.

    Attributes:
        image: (z, y, x) int16 HU, a part of the full grid.
        mask: (z, y, x) uint8 levels, the same part on the half grid.
        origin: (z, y, x) of the image's first voxel on the full grid.
        mask_origin: (z, y, x) of the mask's first voxel on the half grid.
        half_factor: half pixels for each full pixel.
        mean: of the half volume in HU, for standardising.
        std: of the half volume in HU, above 0.
        raw_zero_hu: HU of the stored value 0.
        boxes: of the visible and interpolated levels, on the half grid of the whole study.
        voxels: of each level in the whole mask.
        levels: status of every level.
        spacing_mm: (z, y, x) of the full grid.
    """

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    origin: tuple[int, int, int]
    mask_origin: tuple[int, int, int]
    half_factor: float
    mean: float
    std: float
    raw_zero_hu: float
    boxes: dict[str, Box]
    voxels: dict[str, int]
    levels: dict[str, LevelStatus]
    spacing_mm: tuple[float, float, float]


class WindowPlace(NamedTuple):
    """The rectangle of a window that its image fills after it was resized, in pixels of the window."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True)
class WindowPart:
    """What a crop holds of a window, as it is stored.

    Attributes:
        image: (z, y, x) int16 HU, a view of the crop's.
        mask: (z, y, x) uint8, the same part on the half grid.
        first: slice of the window that is their first one.
        place: what they become in the window's plane.
        plane_fill: HU beside an image in its plane.
        z_fill: HU of slices that they lack.
        inside: voxels of each level in the window and box, counted on the half grid.
    """

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    first: int
    place: WindowPlace
    plane_fill: float
    z_fill: float
    inside: dict[str, int]


@dataclass(frozen=True)
class Window:
    """One window around a vertebra, resized and padded.

    Attributes:
        image: (depth, size, size) float32 HU, not standardised.
        mask: (depth, size, size) uint8.
        inside: voxels of each level in the window and box, counted on the half grid.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    inside: dict[str, int]


class ClassifierCrop(NamedTuple):
    """A window as it travels to the device: a quarter of the bytes of the input that is made of it there.

    Its fields are the arguments of ``compute.network_input.classifier_input``, which takes many of them stacked.

    Attributes:
        image: (depth, size, size) int16 HU.
        mask: (depth, size, size) uint8 levels.
        mean: of the half volume in HU, float32.
        std: of the half volume in HU, float32, above 0.
    """

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    mean: np.float32
    std: np.float32


def trainable_levels(levels: Mapping[str, LevelStatus], voxels: Mapping[str, int], min_voxels: int) -> list[str]:
    """Return the levels that the mask shows with at least ``min_voxels`` voxels, in the order of the spine."""
    return [name for name in LEVELS if levels[name] == "visible" and voxels.get(name, 0) >= min_voxels]


def predictable_levels(levels: Mapping[str, LevelStatus], voxels: Mapping[str, int], min_voxels: int) -> list[str]:
    """Return the levels that validation and prediction look at: the trainable and the interpolated ones."""
    trainable = trainable_levels(levels, voxels, min_voxels)
    return [name for name in LEVELS if name in trainable or levels[name] == "interpolated"]


def spine_crop(
    full: NDArray[np.int16],
    mask: NDArray[np.uint8],
    volume_facts: VolumeFacts,
    mask_facts: MaskFacts,
    settings: CropSettings,
) -> SpineCrop | None:
    """Cut the union of the vertebrae's padded boxes, with all slices that a window can need.

    Args:
        full: (z, y, x) volume; a memory map will do, only the crop is read.
        mask: (z, y, x) mask after the checks, on the half grid with the same slices.
        volume_facts: of the volume.
        mask_facts: of the mask.
        settings: the configuration.

    Returns:
        The crop, or None if no vertebra can be used.
    """
    boxes = mask_facts.boxes
    used = predictable_levels(mask_facts.levels, mask_facts.voxels, settings.min_voxels)
    if not used:
        return None
    factor = volume_facts.half_factor
    region = _region([boxes[name] for name in used], full.shape, factor, settings)
    full_region = _on_full_grid(region, factor, full.shape)
    return SpineCrop(
        image=np.array(full[box_slices(full_region)]),
        mask=np.array(mask[box_slices(region)]),
        origin=corner_of(full_region),
        mask_origin=corner_of(region),
        half_factor=factor,
        mean=volume_facts.mean,
        std=volume_facts.std,
        raw_zero_hu=volume_facts.raw_zero_hu,
        boxes=boxes,
        voxels=mask_facts.voxels,
        levels=mask_facts.levels,
        spacing_mm=volume_facts.spacing_mm,
    )


def cut_window(crop: SpineCrop, level: str, start: int, settings: CropSettings) -> Window:
    """Cut one window of ``settings.depth`` slices around a vertebra; see ``window_part`` and ``fit_window``."""
    return fit_window(window_part(crop, level, start, settings), settings)


def window_part(crop: SpineCrop, level: str, start: int, settings: CropSettings) -> WindowPart:
    """Find what the crop holds of a window of ``settings.depth`` slices around a vertebra: its padded box.

    Args:
        crop: of the study.
        level: a level that has a box.
        start: first slice on the grid of the whole study; negative before its begin.
        settings: the configuration.
    """
    region = _window_region(crop, level, start, settings)
    mask = crop.mask[box_slices(region)]
    image = crop.image[box_slices(_window_on_image(region, crop))]
    rows, columns = _fitted_shape(image.shape[1:], settings.size)
    return WindowPart(
        image=image,
        mask=mask,
        first=region[0] + crop.mask_origin[0] - start,
        place=WindowPlace((settings.size - rows) // 2, (settings.size - columns) // 2, rows, columns),
        plane_fill=AIR_HU if settings.plane_fill == "air" else crop.raw_zero_hu,
        z_fill=AIR_HU if settings.z_fill == "air" else crop.mean,
        inside=level_voxels(np.ascontiguousarray(mask)),
    )


def fit_window(part: WindowPart, settings: CropSettings) -> Window:
    """Resize what a crop holds of a window.

    The longest side is resized to ``settings.size`` (linear; the mask by nearest neighbour) and the rest padded evenly.
    Slices beyond the volume and the padding hold what the settings say, and label 0.
    """
    fills = np.float32(part.plane_fill), np.float32(part.z_fill)
    return Window(
        image=_fit(part.image, part, settings, fills),
        mask=_fit(part.mask, part, settings, (np.uint8(0), np.uint8(0))),
        inside=part.inside,
    )


def classifier_crop(image: NDArray[np.int16], mask: NDArray[np.uint8], crop: SpineCrop) -> ClassifierCrop:
    """Join a window that is resized, and augmented where it is to be, with what standardises it.

    Args:
        image: (depth, size, size) whole HU.
        mask: (depth, size, size).
        crop: of the study, for mean and standard deviation.
    """
    return ClassifierCrop(image, mask, np.float32(crop.mean), np.float32(crop.std))


def validation_starts(crop: SpineCrop, settings: CropSettings) -> list[tuple[str, int]]:
    """Return level and first slice of every validation window of a study, on the slices of the whole study."""
    return [
        (level, max(0, start) if settings.clamp_start else start)
        for level in predictable_levels(crop.levels, crop.voxels, settings.min_voxels)
        for start in validation_window_starts(*crop.boxes[level][:2], settings.depth)
    ]


def validation_windows(crop: SpineCrop, settings: CropSettings) -> Iterator[tuple[str, ClassifierCrop]]:
    """Yield every validation window of a study with its level, without augmentation.

    Centred windows, unless ``settings.clamp_start`` moves them; a vertebra taller than a window yields its first and
    its last one. Interpolated levels are among them.
    """
    for level, start in validation_starts(crop, settings):
        window = cut_window(crop, level, start, settings)
        yield level, classifier_crop(whole_hu(window.image), window.mask, crop)


def _region(boxes: list[Box], full_shape: tuple[int, ...], factor: float, settings: CropSettings) -> Box:
    """Union of the padded boxes within the volume, on the half grid."""
    reaches = [window_reach(box[0], box[1], settings.depth) for box in boxes]
    _, _, y0, y1, x0, x1 = union_of(boxes)
    rows, columns = (math.ceil(round(side * factor, 6)) for side in full_shape[1:])
    return (
        max(0, min(first for first, _ in reaches)),
        min(full_shape[0], max(last for _, last in reaches)),
        max(0, y0 - settings.margin),
        min(rows, y1 + settings.margin),
        max(0, x0 - settings.margin),
        min(columns, x1 + settings.margin),
    )


def _on_full_grid(region: Box, factor: float, full_shape: tuple[int, ...]) -> Box:
    """Smallest box of the full grid that covers ``region`` of the half grid."""
    z0, z1, y0, y1, x0, x1 = region
    rows, columns = full_shape[1:]
    low = [math.floor(round(edge / factor, 6)) for edge in (y0, x0)]
    high = [math.ceil(round(edge / factor, 6)) for edge in (y1, x1)]
    return z0, z1, low[0], min(rows, high[0]), low[1], min(columns, high[1])


def _window_region(crop: SpineCrop, level: str, start: int, settings: CropSettings) -> Box:
    """The part of a window that the crop holds, in voxels of ``crop.mask``."""
    _, _, y0, y1, x0, x1 = crop.boxes[level]
    low = (start, y0 - settings.margin, x0 - settings.margin)
    high = (start + settings.depth, y1 + settings.margin, x1 + settings.margin)
    edges = [edge for pair in zip(low, high, strict=True) for edge in pair]
    clipped = [min(max(edge - crop.mask_origin[i // 2], 0), crop.mask.shape[i // 2]) for i, edge in enumerate(edges)]
    return box_from_json(clipped)


def _window_on_image(region: Box, crop: SpineCrop) -> Box:
    """The same part in voxels of ``crop.image``, edges rounded to the nearest pixel."""
    edges: list[int] = list(region[:2])
    for i, edge in enumerate(region[2:]):
        axis = 1 + i // 2
        position = (edge + crop.mask_origin[axis]) / crop.half_factor
        edges.append(min(max(math.floor(position + 0.5) - crop.origin[axis], 0), crop.image.shape[axis]))
    return box_from_json(edges)


def _fitted_shape(plane: tuple[int, ...], size: int) -> tuple[int, int]:
    """Rows and columns after the longest side was resized to ``size``."""
    longest = max(plane)
    rows, columns = (max(1, round(side * size / longest)) for side in plane)
    return rows, columns


def _fit(slices: NDArray[Any], part: WindowPart, settings: CropSettings, fills: tuple[F, F]) -> NDArray[F]:
    """Resize each slice and put it into its place in a filled window."""
    import cv2

    plane_fill, z_fill = fills
    how = cv2.INTER_NEAREST_EXACT if isinstance(plane_fill, np.uint8) else cv2.INTER_LINEAR
    window = np.full((settings.depth, settings.size, settings.size), z_fill)
    window[part.first : part.first + len(slices)] = plane_fill
    top, left, rows, columns = part.place
    for i, plane in enumerate(slices, start=part.first):
        resized = cv2.resize(plane.astype(plane_fill.dtype), (columns, rows), interpolation=how)
        window[i, top : top + rows, left : left + columns] = resized
    return window
