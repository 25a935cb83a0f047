"""One new study, from its slices to probabilities: the same steps as in training, with the networks of a bundle."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spine_models.compute.crop_predictor import CropInferenceSettings
from spine_models.compute.flips import Flip
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.data.crops.crop import CropSettings, SpineCrop, spine_crop, validation_starts, validation_windows
from spine_models.data.crops.mask_facts import FlagCode, MaskFacts
from spine_models.data.crops.plausibility import PlausibilitySettings
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dicom.study import MAX_STUDY_MB, StudySource, StudyVolume, VolumeSettings, decode_study
from spine_models.evaluation.aggregate import mean_over_models, study_probabilities
from spine_models.evaluation.competition import clip_probabilities
from spine_models.evaluation.tables import FROM_CROPS, FROM_PRIOR, MASK_ALONE
from spine_models.inference.beyond_training import beyond_training
from spine_models.inference.bundle import Bundle
from spine_models.inference.bundle_networks import load_crop_predictors, load_segmentation
from spine_models.inference.implausible import doubts, implausible
from spine_models.inference.masks import checked_mask
from spine_models.inference.prediction_facts import PredictionFacts
from spine_models.inference.view_data import places, view_data
from spine_models.inference.where_to_look import suspicious_slices
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.settings import settings_from

_AGAIN = "half precision overflowed in a network: this study was computed once more in float32"
WIDEST_SPACING_MM = 3.0
"""Slices are not thinned out beyond this (own choice): a vertebral body of the neck is about 12 mm high."""


Decode = Callable[[StudySource, VolumeSettings], StudyVolume]


@dataclass(frozen=True)
class StudyPrediction:
    """What is predicted for a study.

    Attributes:
        half: (z, y, x) int16 HU on the half grid.
        mask: the same shape, uint8 levels.
        facts: what the study's record keeps.
        images: of the study's page, see ``inference.view_data.view_data``.
    """

    half: NDArray[np.int16]
    mask: NDArray[np.uint8]
    facts: PredictionFacts
    images: dict[str, Any]


class StudyPredictor:
    """All networks of a bundle, loaded once for many studies."""

    def __init__(
        self, bundle: Bundle, device: torch.device, flips: tuple[Flip, ...] | None = None, precision: str = "auto"
    ) -> None:
        """Load the networks.

        Args:
            bundle: checked by ``load_bundle``.
            device: where they compute.
            flips: of windows and crops, in place of the bundle's own; None leaves those.
            precision: of all networks, see ``choose_precision`` and ``classifier_precision``.
        """
        settings = bundle.settings
        self._bundle = bundle
        self._crops = settings_from(CropSettings, settings["crops"])
        self._plausibility = settings_from(PlausibilitySettings, settings["plausibility"])
        own = {} if flips is None else {"flips": flips}
        windows = settings_from(SlidingWindowSettings, settings["inference"] | own)
        # A bundle from before flips has no section for crops, and none are its default.
        crops = settings_from(CropInferenceSettings, settings.get("crop_inference", {}) | own)
        self._mask_flips = windows.flips
        networks = [InferenceNetwork(network, device, precision) for network in load_segmentation(bundle)]
        self._masks = MaskPredictor(networks, windows)
        self._classifiers = load_crop_predictors(bundle, device, crops.flips, precision)

    def predict(
        self, source: StudySource, volume_settings: VolumeSettings, decode: Decode = decode_study
    ) -> StudyPrediction:
        """Predict one study; memory holds only that study.

        Args:
            source: the study's files, as ``data.dicom.study.open_study`` found them.
            volume_settings: see ``volume_settings_for``.
            decode: reads the slices, here or in another process.

        Raises:
            StudyRefused: if its slices cannot be decoded.
        """
        study = decode(source, volume_settings)
        before = self._repeated()
        mask, shown = checked_mask(study.half, study.facts, self._masks, self._plausibility)
        answer, suspicious = self._classify(spine_crop(study.full, mask, study.facts, shown, self._crops))
        again = [_AGAIN] if self._repeated() > before else []
        where = places(mask, study.facts, suspicious)
        step_notes = _step_notes(source, volume_settings, self._bundle)
        inside = _inside(study, mask)
        facts = PredictionFacts(
            **answer,
            levels=shown.levels,
            voxels=shown.voxels,
            notes=(
                *step_notes,
                *study.facts.notes,
                *_mask_notes(shown, answer["source"], classifies=self._bundle.prior is not None),
                *doubts(shown, *inside),
                *again,
            ),
            volume=study.facts,
            places=where,
            implausible=(*implausible(shown, *inside), *beyond_training(study.facts, self._bundle.training_data)),
            partly=tuple(flag.level for flag in shown.flags if flag.code == FlagCode.CUT_OFF),
            mask_networks=tuple(entry.name for entry in self._bundle.segmentation),
            mask_flips=self._mask_flips,
        )
        images = view_data(study.half, mask, study.full, study.facts, shown.boxes, where.slices)
        return StudyPrediction(study.half, mask, facts, images)

    def _repeated(self) -> int:
        return self._masks.repeated + sum(predictor.repeated for predictor in self._classifiers.values())

    def most_of_the_neck(
        self, sources: Sequence[StudySource], settings: Sequence[VolumeSettings], decode: Decode
    ) -> tuple[int, dict[int, StudyRefused]]:
        """Return which of several stacks of a study shows the most levels of the neck; the first of equal ones.

        A stack that cannot be decoded takes none along that may be as good.

        Args:
            sources: the stacks; a single one is not looked at.
            settings: how each is read.
            decode: see ``predict``.

        Returns:
            its number, and number to refusal of those that cannot be decoded.

        Raises:
            StudyRefused: that of the first one, if none can be decoded.
        """
        if len(sources) == 1:
            return 0, {}
        visible: dict[int, int] = {}
        refused: dict[int, StudyRefused] = {}
        for number, pair in enumerate(zip(sources, settings, strict=True)):
            try:
                visible[number] = self._visible(decode(*pair))
            except StudyRefused as refusal:
                refused[number] = refusal
        if not visible:
            raise refused[0]
        return max(visible, key=lambda number: visible[number]), refused

    def _visible(self, study: StudyVolume) -> int:
        _, shown = checked_mask(study.half, study.facts, self._masks, self._plausibility)
        return sum(state == "visible" for state in shown.levels.values())

    def _classify(self, crop: SpineCrop | None) -> tuple[dict[str, Any], dict[str, int]]:
        """Return probabilities, those of each classifier and what they come from; and the suspicious slices."""
        prior = self._bundle.prior
        if crop is None:
            return {"probabilities": dict(prior) if prior else None, "models": {}, "source": FROM_PRIOR}, {}
        if prior is None:
            return {"probabilities": None, "models": {}, "source": MASK_ALONE}, {}
        windows = [window for _, window in validation_windows(crop, self._crops)]
        found = {name: predictor.probabilities(windows) for name, predictor in self._classifiers.items()}
        first = next(iter(self._classifiers.values()))
        clips_models = self._bundle.settings.get("clip", "models") == "models"
        models = {name: study_probabilities(list(values), clip=clips_models) for name, values in found.items()}
        mean = mean_over_models(list(models.values()))
        mean = mean if clips_models else clip_probabilities(mean)
        starts = [start for _, start in validation_starts(crop, self._crops)]
        answer = {
            "probabilities": {target: float(value) for target, value in zip(TARGETS, mean, strict=True)},
            "models": {name: tuple(float(value) for value in values) for name, values in models.items()},
            "source": FROM_CROPS,
            "flips": first.flips,
            "precision": first.precision,
        }
        return answer, suspicious_slices(windows, starts, self._crops.depth, crop.boxes, found, self._classifiers)


def _inside(
    study: StudyVolume, mask: NDArray[np.uint8]
) -> tuple[NDArray[np.int16], NDArray[np.uint8], tuple[float, float, float]]:
    """Return a study and its mask without padding, and their spacing."""
    _, rows, columns = study.facts.half_inner_shape
    return study.half[:, :rows, :columns], mask[:, :rows, :columns], study.facts.half_spacing_mm


def volume_settings_for(
    bundle: Bundle, source: StudySource, *, allow_symlinks: bool, max_study_mb: int = MAX_STUDY_MB
) -> VolumeSettings:
    """Choose how a study is read: as the networks' training data was, unless its slices are too thick for that.

    The bundle's ``z_step`` is lowered until slices are no further apart than ``WIDEST_SPACING_MM`` (or 1 is
    reached): dropping every second slice of a thick series would leave too little of a vertebra. A bundle from before
    ``hu_limits`` has none, as its networks learnt without.
    """
    step = int(bundle.settings["z_step"])
    spacing = source.grid.spacing[0]
    if spacing * step > WIDEST_SPACING_MM:
        step = max(1, math.floor(WIDEST_SPACING_MM / spacing))
    config = {name: bundle.settings[name] for name in ("half_size", "hu_limits") if name in bundle.settings}
    return settings_from(
        VolumeSettings, config | {"z_step": step, "allow_symlinks": allow_symlinks, "max_study_mb": max_study_mb}
    )


def _step_notes(source: StudySource, used: VolumeSettings, bundle: Bundle) -> list[str]:
    if used.z_step == int(bundle.settings["z_step"]):
        return []
    spacing = source.grid.spacing[0]
    return [
        f"slices are {spacing:.2f} mm apart: z_step {used.z_step} was used, where the networks learnt with"
        f" {bundle.settings['z_step']}"
    ]


def _mask_notes(shown: MaskFacts, source: str, *, classifies: bool) -> list[str]:
    """Say in sentences which levels the prediction knows nothing or little of."""
    missing = [level for level in LEVELS if shown.levels[level] == "missing"]
    notes = []
    if source == FROM_PRIOR:
        why = "large enough" if shown.boxes else "visible"
        meaning = ": the probabilities are the training prior, not this study's" if classifies else ""
        notes.append(f"no vertebra is {why}{meaning}")
    if source == FROM_CROPS and missing:
        notes.append(f"not visible: {', '.join(missing)}; their probabilities come from crops of other levels")
    return notes + [flag.sentence for flag in shown.flags]
