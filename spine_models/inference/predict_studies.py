"""A shard of new studies: predicted one after the other, found again where they are done, refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from spine_models.compute.devices import use_device
from spine_models.compute.flips import Flip
from spine_models.compute.out_of_memory import memory_advice
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.study import StudySource, VolumeSettings, open_study
from spine_models.inference.bundle import Bundle, load_bundle
from spine_models.inference.predict_study import StudyPredictor, volume_settings_for
from spine_models.inference.prediction_facts import PredictionFacts
from spine_models.inference.prediction_files import MAPPING, write_mapping
from spine_models.inference.study_files import write_study
from spine_models.inference.study_folders import StudyFolder
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record
from spine_models.provenance.shard import Shard, open_shard

Progress = Callable[[int, int, str], None]
"""Called after each study with its number, how many there are, and a sentence."""


@dataclass(frozen=True)
class PredictSettings:
    """Settings of the prediction of new studies.

    Attributes:
        shards: jobs that the studies are split over.
        allow_symlinks: follow links that lead out of the folder of studies.
        math_threads: threads inside torch.
        device: "auto", "cuda" or "cpu"; no part of the key of a result.
        flips: of windows and crops, in place of the bundle's own; None leaves those.
    """

    shards: int
    allow_symlinks: bool
    math_threads: int
    device: str = "auto"
    flips: tuple[Flip, ...] | None = None


def predict_studies(
    folders: Sequence[StudyFolder],
    bundle_folder: Path,
    out: Path,
    settings: PredictSettings,
    *,
    gpus: int,
    code: str,
    progress: Progress,
) -> None:
    """Predict studies and write their manifest; masks, pictures and records lie beside it.

    A study is called by its StudyInstanceUID, or by a digest of its content where that is empty. A study that cannot
    be used is refused with a code and a sentence under its folder's name (a digest, if that is no UID), and the
    rest goes on. ``folders.csv`` beside the records says which folder is which study: the one place where a
    folder's own name is kept.

    Args:
        folders: the studies of this shard.
        bundle_folder: the bundle.
        out: the manifest to write.
        settings: the configuration.
        gpus: GPUs of this job.
        code: fingerprint of the code.
        progress: told after each study.

    Raises:
        UserError: if the bundle is incomplete or damaged, or another job writes this shard.
    """
    predictor = _ShardPredictor(load_bundle(bundle_folder), settings, gpus, code)
    mapping: list[tuple[str, str]] = []
    with open_shard("predict_studies", out) as shard:
        for number, folder in enumerate(folders, start=1):
            study, sentence = folder.name, ""
            with shard.study(folder.name):
                study, sentence = predictor.predict(folder, shard)
            if not sentence:
                sentence = f"{folder.name}: refused, {shard.refused[folder.name]['reason']}"
            mapping.append((study, folder.path.name))
            progress(number, len(folders), sentence)
        write_mapping(shard.folders[0] / MAPPING, mapping)


class _ShardPredictor:
    """What a shard's studies are predicted with."""

    def __init__(self, bundle: Bundle, settings: PredictSettings, gpus: int, code: str) -> None:
        self._bundle, self._settings, self._code = bundle, settings, code
        # Loaded when the first study needs it: a job that finds every study done takes no GPU.
        self._load = cache(partial(_load_predictor, bundle, settings, gpus))

    def predict(self, folder: StudyFolder, shard: Shard) -> tuple[str, str]:
        """Add a study to ``shard``; return its name and a sentence for the person who waits."""
        base = VolumeSettings(allow_symlinks=self._settings.allow_symlinks)
        source = open_study(folder.path, folder.path.parent, base)
        study = source.study_uid
        if study in shard.done:
            raise StudyRefused(
                RefusalCode.DUPLICATE_STUDY, f"another folder holds the study {study} too: only the first is predicted"
            )
        volume_settings = volume_settings_for(self._bundle, source, self._settings.allow_symlinks)
        key = self._key(source, volume_settings, folder)
        sentence = "already predicted"

        def make(path: Path) -> Record:
            nonlocal sentence
            with memory_advice("set device: cpu, or use a GPU with more memory"):
                prediction = self._load().predict(source, volume_settings)
            sentence = "predicted"
            named = replace(prediction, facts=replace(prediction.facts, folder_uid=folder.uid))
            return write_study(path.parent, study, key, named)

        record = shard.result(study, key, make)
        return study, f"{study}: {sentence} from {PredictionFacts.from_json(record.facts).source}"

    def _key(self, source: StudySource, volume: VolumeSettings, folder: StudyFolder) -> Key:
        inputs = {"study": source.content_digest, "bundle": self._bundle.digest}
        config = {
            "z_step": volume.z_step,
            "math_threads": self._settings.math_threads,
            "flips": self._settings.flips,
            "folder": folder.uid,
        }
        return Key("predict_studies", inputs, config, self._code)


def _load_predictor(bundle: Bundle, settings: PredictSettings, gpus: int) -> StudyPredictor:
    return StudyPredictor(bundle, use_device(settings.device, gpus, settings.math_threads).device, settings.flips)
