"""One new study of 300 slices of 512 x 512, by a bundle of full size: seconds and memory of each step, on the CPU.

    python -m benchmarks predict_time

The networks are those of ``config.yaml`` with random weights: two for the masks and one or eight classifiers of 152
layers. What such weights call a vertebra is nothing, so the mask is predicted and then replaced by a drawn one with all
seven levels: the classifiers get seven crops. All cores. The memory is the most that the process held, compared with
what the rule asks for. The study is read and its mask predicted once, for both numbers of classifiers.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.data_sets import write_study
from benchmarks.row import Row, at_most
from spine_models.commands.training_needs import read_configuration
from spine_models.compute.crop_predictor import CropInferenceSettings, CropPredictor
from spine_models.compute.devices import use_device
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.data.crops.crop import ClassifierCrop, CropSettings, spine_crop, validation_starts, validation_windows
from spine_models.data.crops.plausibility import PlausibilitySettings, check_mask
from spine_models.data.dicom.study import decode_study, open_study
from spine_models.evaluation.competition import Floats
from spine_models.inference.bundle import load_bundle
from spine_models.inference.bundle_description import DESCRIPTION
from spine_models.inference.bundle_networks import load_crop_predictors, load_segmentation
from spine_models.inference.export_bundle import BundleContents, write_bundle
from spine_models.inference.predict_study import volume_settings_for
from spine_models.inference.view_data import view_data
from spine_models.inference.where_to_look import suspicious_slices
from spine_models.levels import TARGETS
from spine_models.models.networks import build
from spine_models.models.weights import save_model
from spine_models.provenance.settings import settings_from

SLICES, SIDE = 300, 512
MEMBERS = (1, 8)
RULE_MB = 13_000
"""What ``rules/prediction.smk`` asks for beside three times the largest study (``max_study_mb``)."""
T = TypeVar("T")


def measure() -> list[Row]:
    """Write a bundle and a study, and predict it with one classifier, then with all eight, in a process of its own."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_bundle(folder)
        _write_study(folder / "study")
        allowed = RULE_MB + 3 * read_configuration([])["max_study_mb"]
        command = [sys.executable, "-m", "benchmarks.predict_time", str(folder)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    for members, steps in zip(MEMBERS, found, strict=True):
        memory = steps.pop("memory")
        many = f"{members} classifier{'s' if members > 1 else ''}"
        steps[f"a study of {SLICES} slices"] = sum(steps.values())
        rows += [_seconds(f"{many}, {step}, s", taken) for step, taken in steps.items()]
        rows.append(at_most(f"{many}, memory beside what the rule asks for, MB", memory, allowed, memory / allowed, 1))
    return rows


def _seconds(name: str, seconds: float) -> Row:
    return Row(name, round(seconds, 2), None, None, None, True)


def _write_bundle(folder: Path) -> None:
    config = read_configuration([])
    torch.manual_seed(0)
    variants = config["classification"]["variants"]
    networks = {"mask": config["segmentation"]["network"], **{name: variants[name]["network"] for name in ("ir", "ip")}}
    for name, settings in networks.items():
        save_model(folder / f"{name}.safetensors", build(settings), {"variant": name})
    names = ("z_step", "half_size", "hu_limits", "crops", "plausibility")
    settings = {name: config[name] for name in names}
    settings |= {
        "inference": config["segmentation"]["inference"],
        "crop_inference": config["classification"]["inference"],
    }
    contents = BundleContents(settings, dict.fromkeys(TARGETS, 0.1), phantom=True, provenance={})
    classifiers = [folder / f"{name}.safetensors" for name in ("ir", "ip") for _ in range(4)]
    write_bundle(folder / "bundle" / DESCRIPTION, [folder / "mask.safetensors"] * 2, classifiers, contents)


def _write_study(folder: Path) -> None:
    """A soft block in air with noise; its values count for nothing."""
    draw = np.random.default_rng(0)
    hu = np.full((SLICES, SIDE, SIDE), -1000, np.int16)
    hu[:, 100:400, 100:400] = draw.integers(-100, 600, (SLICES, 300, 300))
    write_study(folder, "1.2.826.0.1.3680043.1", hu)


def _drawn_mask(shape: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    mask = np.zeros(shape, np.uint8)
    for number in range(7):
        mask[10 + 18 * number : 26 + 18 * number, 100:160, 95:150] = number + 1
    return mask


class _Steps(dict[str, float]):
    def timed(self, name: str, work: Callable[[], T]) -> T:
        begin = time.perf_counter()
        result = work()
        self[name] = self.get(name, 0.0) + time.perf_counter() - begin
        return result


def predict(folder: Path) -> list[dict[str, float]]:
    """Return the seconds of each step with each of ``MEMBERS`` classifiers, and the most memory so far in MB.

    What does not depend on the number of classifiers is done and counted once for all of them.
    """
    device = use_device("cpu", 0, os.cpu_count() or 1).device
    bundle = load_bundle(folder / "bundle")
    settings = bundle.settings
    crops = settings_from(CropSettings, settings["crops"])
    plausibility = settings_from(PlausibilitySettings, settings["plausibility"])
    flips = settings_from(CropInferenceSettings, settings["crop_inference"]).flips
    windows_of_mask = settings_from(SlidingWindowSettings, settings["inference"])
    shared = _Steps()
    source = shared.timed("headers and digests", lambda: _opened(folder / "study"))
    volume_settings = volume_settings_for(bundle, source, allow_symlinks=False)
    study = shared.timed("pixels", lambda: decode_study(source, volume_settings))
    masks = shared.timed(
        "mask networks",
        lambda: MaskPredictor([InferenceNetwork(net, device) for net in load_segmentation(bundle)], windows_of_mask),
    )
    shared.timed("masks", lambda: masks.mask(study.half, study.facts.mean, study.facts.std))
    drawn = _drawn_mask(study.half.shape)  # type: ignore[arg-type]
    mask, shown = shared.timed("checks", lambda: check_mask(drawn, study.facts.half_spacing_mm, plausibility))
    crop = shared.timed("crops", lambda: spine_crop(study.full, mask, study.facts, shown, crops))
    assert crop is not None
    windows = shared.timed("crops", lambda: [window for _, window in validation_windows(crop, crops)])
    assert len(windows) == 7
    starts = [start for _, start in validation_starts(crop, crops)]
    found = []
    for members in MEMBERS:
        steps = _Steps(shared)
        chosen = bundle.only([entry.name for entry in bundle.classification[:members]])
        classifiers = steps.timed("classifiers, loading", partial(load_crop_predictors, chosen, device, flips))
        values = steps.timed("classifiers", partial(_probabilities, classifiers, windows))
        look = partial(suspicious_slices, windows, starts, crops.depth, crop.boxes, values, classifiers)
        slices = steps.timed("where to look", look)
        steps.timed("page", partial(view_data, study.half, mask, study.full, study.facts, shown.boxes, slices))
        found.append({**steps, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000})
    return found


def _probabilities(classifiers: Mapping[str, CropPredictor], windows: Sequence[ClassifierCrop]) -> dict[str, Floats]:
    return {name: classifier.probabilities(windows) for name, classifier in classifiers.items()}


def _opened(folder: Path) -> Any:
    from spine_models.data.dicom.study import VolumeSettings

    source = open_study(folder, folder, VolumeSettings())
    assert source.content_digest
    return source


if __name__ == "__main__":
    sys.stdout.write(json.dumps(predict(Path(sys.argv[1]))))
