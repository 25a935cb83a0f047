"""The slice of each level that a reader should look at first, from the classifiers themselves.

The last layer of a CSN has one position for eight slices, which is too coarse for that. The gradient of a level's logit
by the input has all slices: where its product with the image is large, what is there moves the answer most (Shrikumar
et al. 2016). Only the network that is surest of a level is asked, so that a study costs one pass forward and one back
for each level, whatever the number of networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spine_models.compute.crop_predictor import CropPredictor
from spine_models.data.crops.boxes import Box
from spine_models.data.crops.crop import ClassifierCrop
from spine_models.evaluation.competition import Floats
from spine_models.levels import LEVELS, TARGETS


def suspicious_slices(
    windows: Sequence[ClassifierCrop],
    starts: Sequence[int],
    depth: int,
    boxes: Mapping[str, Box],
    probabilities: Mapping[str, Floats],
    predictors: Mapping[str, CropPredictor],
) -> dict[str, int]:
    """Return the index of the most suspicious slice of each level that a window shows, on the volume's slices.

    Args:
        windows: of the study, as the predictors take them.
        starts: the first slice of each window, which may be before the volume.
        depth: slices of a window.
        boxes: of the levels.
        probabilities: name of a predictor to what it gave, (windows, 8).
        predictors: by the same names.
    """
    found = {}
    for level in LEVELS:
        if level not in boxes:
            continue
        target = TARGETS.index(level)
        z0, z1 = boxes[level][:2]
        near = [number for number, start in enumerate(starts) if start < z1 and start + depth > z0]
        if not near:
            continue
        _, name, number = max((values[n, target], name, n) for name, values in probabilities.items() for n in near)
        first, last = max(z0, starts[number]), min(z1, starts[number] + depth)
        attention = predictors[name].attention(windows[number], target)[first - starts[number] : last - starts[number]]
        # Half precision can overflow on its way back; then, and where nothing moves the logit, no slice is named.
        if np.isfinite(attention).all() and attention.any():
            found[level] = first + int(attention.argmax())
    return found
