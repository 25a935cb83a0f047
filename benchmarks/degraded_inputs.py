"""Dice of a finished run's segmentation networks on studies that are degraded as scanners degrade them.

    python -m benchmarks.degraded_inputs demo --studies 12

Each segmented study is decoded from its files, degraded, limited or not, halved and predicted by the network of the
fold that holds it out. Without limits a border or a screw shifts the mean and standard deviation of the whole study.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.data.dataset.layout import IMAGES
from spine_models.data.dicom.half import half_volume
from spine_models.data.dicom.study import VolumeSettings, read_study
from spine_models.data.phantom.encoding import outside_field
from spine_models.evaluation.dice import dice_per_level, mean_dice
from spine_models.inference.bundle import load_bundle
from spine_models.inference.mask_networks import fold_networks, networks_for, read_fold_table
from spine_models.models.weights import load_model
from spine_models.provenance.settings import settings_from

LIMITS = (-1024, 3071)

Volume = NDArray[np.int16]


@dataclass(frozen=True)
class Study:
    """A segmented study and the networks that did not learn from it."""

    name: str
    full: Volume
    label: NDArray[np.uint8]
    networks: list[InferenceNetwork]


def border(value: int) -> Callable[[Volume], None]:
    """Return what writes ``value`` outside the circular field of view."""

    def degrade(full: Volume) -> None:
        full[:, outside_field(*full.shape[1:])] = value

    return degrade


def metal(row: float, column: float) -> Callable[[Volume], None]:
    """Return what writes 30000 into an upright rod, a twentieth of the slice wide, in the middle third of the slices.

    Args:
        row: of the rod's axis, as a part of the rows.
        column: as a part of the columns.
    """

    def degrade(full: Volume) -> None:
        slices, rows, columns = full.shape
        y, x = np.ogrid[:rows, :columns]
        rod = np.hypot(y - row * rows, x - column * columns) <= columns / 40
        full[slices // 3 : 2 * slices // 3, rod] = 30000

    return degrade


DEGRADATIONS: dict[str, Callable[[Volume], None]] = {
    "clean": lambda full: None,
    "border -2048": border(-2048),
    "border -3024": border(-3024),
    "metal 30000 in front": metal(0.1, 0.5),
    "metal 30000 beside the spine": metal(0.5, 0.1),
}


def segmented_studies(run: Path, dataset: Path, volumes: VolumeSettings, count: int) -> list[Study]:
    """Read the first ``count`` segmented studies of a run with the networks that may predict them."""
    networks = fold_networks(sorted(run.glob("segmentation/fold*/model.safetensors")))
    loaded = {
        item.name: InferenceNetwork(load_model(item.path, "segmentation")[0], torch.device("cpu")) for item in networks
    }
    folds = read_fold_table(run / "folds/segmentation.csv")
    return [
        Study(
            name,
            read_study(dataset / IMAGES / name, volumes).full,
            np.load(next(run.glob(f"labels_half/*/{name}.npy"))),
            [loaded[network.name] for network in networks_for(name, "", networks, folds)],
        )
        for name in sorted(folds.studies)[:count]
    ]


def dice_of(study: Study, full: Volume, half_size: int, windows: SlidingWindowSettings) -> dict[str, float]:
    """Predict the mask of a full-size volume and compare it with the study's label."""
    half = half_volume(full, half_size)
    mask = MaskPredictor(study.networks, windows).mask(half.voxels, half.mean, half.std)
    return dice_per_level(mask, study.label)


def main() -> None:
    """Print a row for each degradation: Dice without and with limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output_dir of a finished run")
    parser.add_argument("--dataset", type=Path, help="its data set; the run's phantoms where none is given")
    parser.add_argument("--studies", type=int, default=12, help="segmented studies to predict")
    arguments = parser.parse_args()
    settings = load_bundle(arguments.run / "bundle").settings
    half_size, windows = settings["half_size"], settings_from(SlidingWindowSettings, settings["inference"])
    raw = VolumeSettings(z_step=settings["z_step"], half_size=half_size)
    studies = segmented_studies(arguments.run, arguments.dataset or arguments.run / "phantom", raw, arguments.studies)
    print(f"{len(studies)} studies, mean Dice\n\n| input | as it is | hu_limits {list(LIMITS)} |\n|---|---|---|")
    for name, degrade in DEGRADATIONS.items():
        plain, limited = [], []
        for study in studies:
            full = study.full.copy()
            degrade(full)
            plain.append(dice_of(study, full, half_size, windows))
            limited.append(dice_of(study, np.clip(full, *LIMITS), half_size, windows))
        print(f"| {name} | {mean_dice(plain):.3f} | {mean_dice(limited):.3f} |", flush=True)


if __name__ == "__main__":
    main()
