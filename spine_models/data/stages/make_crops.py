"""One shard's crops, made from volumes and masks.

Trainings do not import this module: it reaches the decoder, whose changes must not retrain a classifier.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from spine_models.data.crops.crop import CropSettings, spine_crop
from spine_models.data.crops.crop_facts import NoCropFacts
from spine_models.data.crops.files import crop_facts
from spine_models.data.crops.mask_facts import MaskFacts
from spine_models.data.dicom.study import VolumeSettings
from spine_models.data.stages.full_volumes import FullVolumes
from spine_models.data.volume_facts import VolumeFacts
from spine_models.errors import UserError
from spine_models.pace import paced
from spine_models.processes import ChildProcess
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record, write_array, write_record
from spine_models.provenance.shard import open_shard
from spine_models.provenance.shelf import Shelf


@dataclass(frozen=True)
class CropInputs:
    """What crops are made from.

    Attributes:
        dataset: the data set, for full-size volumes that are not stored.
        volumes: manifest of the full-size volumes.
        half: manifest of the half-size volumes, for their facts.
        masks: manifest of the masks; its studies are the ones to crop.
    """

    dataset: Path
    volumes: Path
    half: Path
    masks: Path


def make_crops(
    inputs: CropInputs, conversion: VolumeSettings, settings: CropSettings, *, code: str, out: Path
) -> list[str]:
    """Store the crop of every study of a shard; memory holds one study at a time.

    Args:
        inputs: the files.
        conversion: settings by which the volumes were converted.
        settings: see there.
        code: fingerprint of the code.
        out: manifest to write; the crops are beside it.

    Returns:
        The studies that show no usable vertebra. They get a record without an array, and the prior as prediction.

    Raises:
        UserError: if an input is damaged, or another process writes this shard.
    """
    volumes = FullVolumes(inputs.volumes, inputs.dataset, conversion)
    stages = _Stages(volumes, Shelf([inputs.half]), Shelf([inputs.masks]))
    with ChildProcess() as child, open_shard("make_crops", out) as shard:
        for study in paced(stages.masks.studies, "make_crops"):
            with shard.study(study):
                key = Key("make_crops", stages.digests(study), {"crops": asdict(settings)}, code)
                shard.result(study, key, partial(_make_crop, key, study, stages, settings, child))
                volumes.release(study)
    return [study for study, (record,) in shard.done.items() if not record.files]


@dataclass(frozen=True)
class _Stages:
    """The inputs, opened."""

    volumes: FullVolumes
    half: Shelf
    masks: Shelf

    def digests(self, study: str) -> dict[str, str]:
        """Return the digest of the content of each stage for ``study``."""
        return {name: getattr(self, name).digest(study) for name in ("volumes", "half", "masks")}


def _make_crop(
    key: Key, study: str, stages: _Stages, settings: CropSettings, child: ChildProcess, path: Path
) -> Record:
    volume, mask = stages.volumes.array(study, child), stages.masks.array(study)
    mask_facts = stages.masks.facts(study, MaskFacts)
    if volume.shape[0] != mask.shape[0]:
        raise UserError(
            f"mask of study {study} has {mask.shape[0]} slices and its volume {volume.shape[0]}: "
            "run the rules convert_volumes and infer_masks again"
        )
    crop = spine_crop(volume, mask, stages.half.facts(study, VolumeFacts), mask_facts, settings)
    places = {"image": path.with_name(f"{study}.npy"), "mask": path.with_name(f"{study}_mask.npy")}
    if crop is None:
        for place in places.values():
            place.unlink(missing_ok=True)
        facts = NoCropFacts(boxes={}, voxels=mask_facts.voxels, levels=mask_facts.levels)
        return write_record(path, key, {}, facts.to_json())
    files = {place.name: write_array(place, getattr(crop, name)) for name, place in places.items()}
    return write_record(path, key, files, crop_facts(crop).to_json())
