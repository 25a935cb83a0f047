"""How near the slice that the study's page shows first is to the fracture.

    python -m benchmarks localisation --bundle demo/bundle --phantoms DIR [--studies 120]

Takes the phantoms with one fractured level, whose slices ``train_bounding_boxes.csv`` lists, and of these the ones that
the bundle finds: of all levels that one has the highest probability, and the mask shows it. Two slices are compared:
the one that the classifiers point at, and the middle of the vertebra, where their windows are centred. A fracture is
focal where it takes up at most 0.6 of the vertebra's height; the middle of a vertebra is near to most of the others.
Each fracture is its own control: of those where the two slices differ, a sign test counts which is nearer how often.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import torch

from spine_models.compute.crop_predictor import CropInferenceSettings
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.data.crops.crop import CropSettings, spine_crop, validation_starts, validation_windows
from spine_models.data.crops.plausibility import PlausibilitySettings
from spine_models.data.dataset.layout import BOXES_TABLE, IMAGES, TRAIN_TABLE
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dataset.tables import read_boxes, read_train
from spine_models.data.dicom.study import StudyVolume, VolumeSettings, decode_study, open_study
from spine_models.data.volume_facts import Affine
from spine_models.evaluation.aggregate import mean_over_models, study_probabilities
from spine_models.inference.bundle import Bundle, load_bundle
from spine_models.inference.bundle_networks import load_crop_predictors, load_segmentation
from spine_models.inference.masks import checked_mask
from spine_models.inference.predict_study import volume_settings_for
from spine_models.inference.where_to_look import suspicious_slices
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.settings import settings_from

NEAR, CLOSE = 3, 1
"""Slices of the volume, so those after ``z_step``."""
FOCAL = 0.6
"""Of the vertebra's height."""


@dataclass(frozen=True)
class Looked:
    """A fracture that was found, and how far from its nearest slice one looks first; everything in slices.

    Attributes:
        ours: distance of the most suspicious slice.
        centre: of the middle of the vertebra.
        extent: of the fracture.
        height: of the vertebra in the mask.
        predicting: seconds that the classifiers took for the study.
        pointing: seconds that the search for the slices of all levels took.
    """

    ours: float
    centre: float
    extent: float
    height: int
    predicting: float
    pointing: float

    @property
    def focal(self) -> bool:
        return self.extent <= FOCAL * self.height


class Localiser:
    """The networks of a bundle, asked step by step so that each can be timed.

    Attributes:
        raised_mb: by how much the searches for slices raised the most memory that the process held.
    """

    def __init__(self, bundle: Bundle) -> None:
        settings, device = bundle.settings, torch.device("cpu")
        self.raised_mb = 0.0
        self._bundle = bundle
        self._crops = settings_from(CropSettings, settings["crops"])
        self._plausibility = settings_from(PlausibilitySettings, settings["plausibility"])
        windows = settings_from(SlidingWindowSettings, settings["inference"])
        flips = settings_from(CropInferenceSettings, settings.get("crop_inference", {})).flips
        self._masks = MaskPredictor([InferenceNetwork(net, device) for net in load_segmentation(bundle)], windows)
        self._classifiers = load_crop_predictors(bundle, device, flips)

    def study(self, folder: Path, root: Path) -> tuple[StudyVolume, dict[str, Path]]:
        """Read a study and say which file each number of the table of boxes means."""
        raw = VolumeSettings(z_step=int(self._bundle.settings["z_step"]), half_size=self._bundle.settings["half_size"])
        source = open_study(folder, root, raw)
        volume = decode_study(source, volume_settings_for(self._bundle, source, allow_symlinks=False))
        return volume, {path.stem: path for path in folder.glob("*.dcm")}

    def look(self, volume: StudyVolume, level: str, fracture: Sequence[float]) -> Looked | None:
        """Look for the fracture of a level; None where it is not found.

        Args:
            volume: of the study.
            level: that is fractured.
            fracture: slices of the volume that show it.
        """
        mask, shown = checked_mask(volume.half, volume.facts, self._masks, self._plausibility)
        crop = spine_crop(volume.full, mask, volume.facts, shown, self._crops)
        if crop is None or level not in crop.boxes:
            return None
        windows = [window for _, window in validation_windows(crop, self._crops)]
        starts = [start for _, start in validation_starts(crop, self._crops)]
        began = time.monotonic()
        found = {name: predictor.probabilities(windows) for name, predictor in self._classifiers.items()}
        predicted, held = time.monotonic(), memory_mb()
        first = suspicious_slices(windows, starts, self._crops.depth, crop.boxes, found, self._classifiers)
        pointed = time.monotonic()
        self.raised_mb += memory_mb() - held
        mean = mean_over_models([study_probabilities(list(values)) for values in found.values()])
        if max(LEVELS, key=lambda name: mean[TARGETS.index(name)]) != level or level not in first:
            return None
        z0, z1 = crop.boxes[level][:2]
        slices = np.asarray(fracture)
        return Looked(
            ours=float(np.abs(slices - first[level]).min()),
            centre=float(np.abs(slices - (z0 + z1 - 1) / 2).min()),
            extent=float(np.ptp(slices)) + 1,
            height=z1 - z0,
            predicting=predicted - began,
            pointing=pointed - predicted,
        )


def slice_of(file: Path, affine_lps: Affine) -> float:
    """Return the slice of the volume that a file is on; between two where ``z_step`` leaves it out."""
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["ImagePositionPatient"])
    place = np.linalg.inv(np.array(affine_lps)) @ [*map(float, header.ImagePositionPatient), 1.0]
    return float(place[0])


def memory_mb() -> float:
    """Return the most memory that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sign_test(more: int, less: int) -> float:
    """Return how probable so uneven a split is if both sides are equally likely, both directions counted."""
    tosses, fewer = more + less, min(more, less)
    return min(1.0, 2 * sum(math.comb(tosses, number) for number in range(fewer + 1)) / 2**tosses)


def table(looked: Sequence[Looked], tried: int) -> str:
    """Return what was seen as Markdown."""
    focal = [one for one in looked if one.focal]
    lines = [
        f"{tried} phantoms with one fractured level, {len(looked)} of them found, {len(focal)} of these focal",
        "",
        f"| fractures | n | within {NEAR} slices: ours | the middle | within {CLOSE}: ours | the middle |"
        " mean distance: ours | the middle |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, group in (("all found", looked), ("focal", focal)):
        if group:
            ours, centre = (np.array([getattr(one, side) for one in group]) for side in ("ours", "centre"))
            near = [f"{np.mean(side <= limit):.2f}" for limit in (NEAR, CLOSE) for side in (ours, centre)]
            lines.append(f"| {name} | {len(group)} | {' | '.join(near)} | {ours.mean():.1f} | {centre.mean():.1f} |")
    if looked:
        by = np.array([one.centre - one.ours for one in looked])
        nearer, farther = int((by >= 1).sum()), int((by <= -1).sum())
        lines += [
            "",
            f"nearer than the middle by a slice or more: {nearer}, farther: {farther}"
            f" (sign test, two-sided: p = {sign_test(nearer, farther):.2g})",
        ]
        times = [np.median([getattr(one, name) for one in looked]) for name in ("predicting", "pointing")]
        lines += ["", f"seconds a study, median: probabilities {times[0]:.2f}, where to look {times[1]:.2f}"]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 where the found fractures are not localised as the page promises."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks localisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--phantoms", type=Path, required=True, help="data set of `spine-models phantom`")
    parser.add_argument("--studies", type=int, help="look at so many of them; without it at all")
    args = parser.parse_args(arguments)
    localiser = Localiser(load_bundle(args.bundle))
    truth = read_train(args.phantoms / TRAIN_TABLE).set_index("StudyInstanceUID")
    boxes = read_boxes(args.phantoms / BOXES_TABLE, set(truth.index)).groupby("StudyInstanceUID")["slice_number"]
    single = [study for study, _ in boxes if truth.loc[study, list(LEVELS)].sum() == 1][: args.studies]
    looked: list[Looked] = []
    refused = 0
    for study in single:
        try:
            volume, files = localiser.study(args.phantoms / IMAGES / study, args.phantoms)
        except StudyRefused:
            refused += 1
            continue
        numbers = boxes.get_group(study)
        fracture = [slice_of(files[f"{number:.0f}"], volume.facts.affine_lps) for number in numbers]
        level = next(name for name in LEVELS if truth.loc[study, name])
        one = localiser.look(volume, level, fracture)
        if one is not None:
            looked.append(one)
    print(table(looked, len(single) - refused))
    print(f"most memory: {memory_mb():.0f} MB, of which {localiser.raised_mb:.0f} MB for where to look")
    return int(not looked or np.mean([one.ours <= NEAR for one in looked]) < 0.7)
