"""Training windows for the segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spine_models.data.samples.augmentation import Augmentation, SegmentationAugmentation, segmentation_augmentation
from spine_models.data.samples.resampling import augmented
from spine_models.data.samples.sampling import draw_generator, study_in_turn
from spine_models.data.volume_facts import VolumeFacts
from spine_models.hounsfield import AIR_HU
from spine_models.levels import IGNORE_LABEL
from spine_models.provenance.shelf import Shelf


class SegmentationWindow(NamedTuple):
    """A window as it travels to the device; its fields are the arguments of ``compute.network_input.standardised``.

    Attributes:
        image: (z, y, x) int16 HU.
        mean: of the half volume in HU, float32.
        std: of the half volume in HU, float32, above 0.
    """

    image: NDArray[np.int16]
    mean: np.float32
    std: np.float32


class SegmentationSamples:
    """Draws of windows from the half volumes of segmented studies."""

    def __init__(
        self,
        half: Shelf,
        labels: Shelf,
        studies: Sequence[str],
        *,
        window: int,
        draws_per_study: int,
        augmentation: SegmentationAugmentation,
        seed: int,
    ) -> None:
        """Describe the draws; nothing is read before the first sample.

        Args:
            half: stage ``volumes_half``.
            labels: stage ``labels_half``.
            studies: those to draw from.
            window: slices of a sample.
            draws_per_study: how often an epoch draws each study.
            augmentation: settings of the augmentation of ``sample``.
            seed: of the run.
        """
        self.studies = list(studies)
        self._half = half
        self._labels = labels
        self._window = window
        self._draws = draws_per_study
        self._seed = seed
        self._settings = augmentation
        self._augmentation: Augmentation | None = None

    def __len__(self) -> int:
        """Draws of an epoch."""
        return self._draws * len(self.studies)

    def sample(self, epoch: int, index: int) -> tuple[SegmentationWindow, NDArray[np.uint8], str]:
        """Return an augmented window.

        The window's position is uniform over the volume. A volume with fewer slices than the window is at a random
        place in it; beyond it there is air with ``IGNORE_LABEL``.

        Args:
            epoch: counted from 0.
            index: of the draw, 0 to ``len(self) - 1``.

        Returns:
            Window; label (z, y, x); study.
        """
        study = study_in_turn(self.studies, self._seed, epoch, index)
        generator = draw_generator(self._seed, epoch, index)
        volume, label = self._half.array(study), self._labels.array(study)
        first, last = sorted((0, volume.shape[0] - self._window))
        start = int(generator.integers(first, last, endpoint=True))
        image = cut_slices(volume, start, self._window, AIR_HU)
        truth = cut_slices(label, start, self._window, IGNORE_LABEL)
        if self._augmentation is None:
            self._augmentation = segmentation_augmentation(self._settings, side=image.shape[-1])
        image, truth = augmented(image, truth, self._augmentation.draw(image.shape[1:], generator))
        facts = self._half.facts(study, VolumeFacts)
        return SegmentationWindow(image, np.float32(facts.mean), np.float32(facts.std)), truth, study


def cut_slices(volume: NDArray[Any], start: int, depth: int, fill: int) -> NDArray[Any]:
    """Copy ``depth`` slices from ``start`` on, which may be negative; slices beyond the volume hold ``fill``."""
    window = np.empty((depth, *volume.shape[1:]), dtype=volume.dtype)
    low, high = max(0, start), min(volume.shape[0], start + depth)
    window[: low - start] = fill
    window[low - start : high - start] = volume[low:high]
    window[high - start :] = fill
    return window
