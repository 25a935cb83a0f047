"""Training windows for the classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spine_models.data.crops.crop import (
    ClassifierCrop,
    CropSettings,
    SpineCrop,
    WindowPart,
    classifier_crop,
    fit_window,
    trainable_levels,
    window_part,
)
from spine_models.data.crops.files import open_crop, stored_facts
from spine_models.data.crops.windows import draw_window_start
from spine_models.data.samples.augmentation import ClassificationAugmentation, classification_augmentation
from spine_models.data.samples.resampling import augmented, augmented_window
from spine_models.data.samples.sampling import BalancedStudies, draw_generator, draw_level
from spine_models.data.samples.targets import window_target
from spine_models.errors import UserError
from spine_models.hounsfield import whole_hu
from spine_models.levels import LEVELS
from spine_models.provenance.shelf import Shelf


class ClassificationSamples:
    """Draws of vertebra windows from the stored crops of the spine."""

    def __init__(
        self,
        crops: Shelf,
        studies: Sequence[str],
        labels: Mapping[str, Sequence[int]],
        *,
        settings: CropSettings,
        augmentation: ClassificationAugmentation,
        draws_per_study: int,
        fractured_probability: float,
        seed: int,
    ) -> None:
        """Describe the draws; only records are read before the first sample.

        Args:
            crops: stage ``crops``.
            studies: those to draw from; a study without a vertebra to train on is left out of the draws.
            labels: of each study, 0 or 1 for each of ``TARGETS``.
            settings: section ``crops`` of the configuration.
            augmentation: settings of the augmentation of ``sample``.
            draws_per_study: draws of an epoch for each study that can be drawn.
            fractured_probability: of drawing a fractured vertebra in a study that has one.
            seed: of the run.
        """
        self._crops = crops
        self._labels = labels
        self._settings = settings
        self._levels = {study: _drawable(crops, study, settings) for study in studies}
        self.studies = [study for study in studies if self._levels[study]]
        self.left_out = [study for study in studies if not self._levels[study]]
        self._balanced = BalancedStudies(self.studies, [bool(labels[study][0]) for study in self.studies])
        self._augmentation = classification_augmentation(augmentation)
        self._draws = draws_per_study
        self._fractured_probability = fractured_probability
        self._seed = seed

    def __len__(self) -> int:
        """Draws of an epoch."""
        return self._draws * len(self.studies)

    def sample(self, epoch: int, index: int) -> tuple[ClassifierCrop, NDArray[np.float32], str]:
        """Return an augmented window around a drawn vertebra.

        Args:
            epoch: counted from 0.
            index: of the draw, 0 to ``len(self) - 1``.

        Returns:
            Crop; target (8,) by the 30 % rule; study.
        """
        generator = draw_generator(self._seed, epoch, index)
        study = self._balanced.draw(generator)
        level = self._draw_level(study, generator)
        crop = self._crop_of(study)
        start = draw_window_start(*crop.boxes[level][:2], self._settings.depth, generator)
        part = window_part(crop, level, start, self._settings)
        target = window_target(self._labels[study], part.inside, crop.voxels, self._settings.visible_fraction)
        return classifier_crop(*self._augmented(part, generator), crop), target, study

    def _augmented(
        self, part: WindowPart, generator: np.random.Generator
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        depth, size = self._settings.depth, self._settings.size
        drawn = self._augmentation.draw((size, size), generator)
        if not drawn.exact:
            return augmented_window(part, drawn, depth, size)
        window = fit_window(part, self._settings)
        return augmented(whole_hu(window.image), window.mask, drawn)

    def _crop_of(self, study: str) -> SpineCrop:
        crop = open_crop(self._crops, study)
        if crop is None:
            raise UserError(f"the record of study {study} names vertebrae, but no crop: run the rule make_crops again")
        return crop

    def _draw_level(self, study: str, generator: np.random.Generator) -> str:
        fractured = [level for level, label in zip(LEVELS, self._labels[study][1:], strict=True) if label]
        return draw_level(self._levels[study], fractured, self._fractured_probability, generator)


def _drawable(crops: Shelf, study: str, settings: CropSettings) -> list[str]:
    facts = stored_facts(crops, study)
    return trainable_levels(facts.levels, facts.voxels, settings.min_voxels)
