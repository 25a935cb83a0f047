"""What the record of a predicted study keeps."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.data.crops.boxes import LevelStatus
from spine_models.data.volume_facts import VolumeFacts
from spine_models.inference.view_data import Places
from spine_models.provenance.facts import Facts


@dataclass(frozen=True)
class PredictionFacts(Facts):
    """What is predicted for a study, and from what.

    Attributes:
        probabilities: target to value; None without classifiers.
        models: name of a classifier to its eight values; empty where the prior is the prediction.
        source: of ``evaluation.tables``: ``FROM_CROPS``; ``FROM_PRIOR`` where no vertebra was found, with classifiers
            or without; ``MASK_ALONE``.
        levels: status of every level.
        voxels: of the visible levels.
        notes: sentences on what the models could not see.
        volume: geometry.
        places: where the levels are.
        implausible: sentences on why this is not an answer; empty where it is one.
        folder_uid: UID that the study's folder is called by; None where its name is not a UID.
        partly: visible levels that the first or the last slice cuts off.
        flips: of crops, whose probabilities were averaged.
        precision: in which the classifiers computed; empty without classifiers.
        mask_networks: names of the segmentation networks whose mean the mask is.
        mask_flips: of windows, whose probabilities were averaged for it.
    """

    probabilities: dict[str, float] | None
    models: dict[str, tuple[float, ...]]
    source: str
    levels: dict[str, LevelStatus]
    voxels: dict[str, int]
    notes: tuple[str, ...]
    volume: VolumeFacts
    places: Places
    implausible: tuple[str, ...] = ()
    folder_uid: str | None = None
    partly: tuple[str, ...] = ()
    flips: tuple[str, ...] = ()
    precision: str = ""
    mask_networks: tuple[str, ...] = ()
    mask_flips: tuple[str, ...] = ()
