"""A shard of new studies: predicted one after the other, found again where they are done, refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from spine_models.compute.devices import use_device
from spine_models.compute.flips import Flip
from spine_models.compute.out_of_memory import OTHER_DEVICE, memory_advice
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.choice import Choose, for_the_neck, the_series
from spine_models.data.dicom.identity import read_identity
from spine_models.data.dicom.series import Selection
from spine_models.data.dicom.study import (
    MAX_STUDY_MB,
    StudySource,
    StudyVolume,
    VolumeSettings,
    decode_study,
    found_again,
    open_candidates,
    refused_unless_changed,
    require_unchanged,
    without_stack,
)
from spine_models.data.dicom.tree import TreeStudy
from spine_models.data.volume_facts import SeriesFacts
from spine_models.errors import StudyFailedError, UserError
from spine_models.evaluation.tables import FROM_PRIOR
from spine_models.inference.bundle import Bundle, load_bundle
from spine_models.inference.inventory import INVENTORY, Row, refused_rows, used_rows, write_inventory
from spine_models.inference.predict_study import StudyPrediction, StudyPredictor, volume_settings_for
from spine_models.inference.prediction_facts import PredictionFacts
from spine_models.inference.prediction_files import MaskFileSettings
from spine_models.inference.study_files import Origin, write_study
from spine_models.pace import paced
from spine_models.processes import ChildProcess
from spine_models.provenance.canonical import digest_json
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record
from spine_models.provenance.shard import FAILED, Shard, open_shard
from spine_models.provenance.vouched import record_path, vouch

EVERY_STUDY = "*"
_OTHER_SERIES = "the series that was asked for is none of the axial series of this study: another one was chosen"

Progress = Callable[[int, int, str], None]
"""Called after each study with its number, how many there are, and a sentence."""


@dataclass(frozen=True)
class PredictInputs:
    """What new studies are predicted with.

    Attributes:
        bundle: the bundle, or its ``bundle.json``.
        series_csv: which series a person chose for which study; None: nobody chose.
    """

    bundle: Path
    series_csv: Path | None = None


@dataclass(frozen=True)
class PredictSettings:
    """Settings of the prediction of new studies.

    Attributes:
        allow_symlinks: follow links that lead out of the folder of studies.
        math_threads: threads inside torch.
        series: study, or ``EVERY_STUDY``, to the SeriesInstanceUID that a person chose for it.
        device: "auto", "cuda" or "cpu"; no part of the key of a result.
        flips: of windows and crops, in place of the bundle's own; None leaves those.
        mask_files: which files hold the mask.
        max_study_mb: largest full-size volume (megabytes); a larger study is refused.
        members: the networks to use, see ``Bundle.only``; none: all.
        precision: in which the networks compute, see ``StudyPredictor``.
    """

    allow_symlinks: bool
    math_threads: int
    series: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    flips: tuple[Flip, ...] | None = None
    mask_files: MaskFileSettings = field(default_factory=MaskFileSettings)
    max_study_mb: int = MAX_STUDY_MB
    members: tuple[str, ...] = ()
    precision: str = "auto"


def predict_studies(
    root: Path,
    studies: Sequence[TreeStudy],
    bundle_folder: Path,
    out: Path,
    settings: PredictSettings,
    *,
    gpus: int,
    code: str,
    progress: Progress,
) -> None:
    """Predict studies and write their manifest; masks, pictures and records are beside it.

    A study is called by its StudyInstanceUID, or by a digest of its content where that is empty. A study that cannot
    be used is refused with a code and a sentence, one that cannot be worked on (a bug, no memory, a disk) has the code
    ``failed``, and the rest goes on. ``inventory.csv`` beside the records says what became of each file.

    Args:
        root: the tree that holds the studies.
        studies: those of this shard.
        bundle_folder: the bundle.
        out: the manifest to write.
        settings: the configuration.
        gpus: GPUs of this job.
        code: fingerprint of the code.
        progress: told after each study.

    Raises:
        UserError: if the bundle is incomplete or damaged, or another job writes this shard.
    """
    inventory: list[Row] = []
    with ChildProcess() as child, open_shard("predict_studies", out, name_failed=True) as shard:
        bundle = load_bundle(bundle_folder).only(settings.members)
        predictor = _ShardPredictor(bundle, settings, gpus, code, child)
        for number, found in enumerate(paced(studies, "predict_studies"), start=1):
            sentence = ""
            with shard.study(found.name):
                rows, sentence = predictor.predict(root, found, shard)
                inventory += rows
            if not sentence:
                why = shard.refused.get(found.name) or {"code": FAILED, "reason": shard.failed[found.name]}
                sentence = f"{found.name}: {'failed' if why['code'] == FAILED else 'refused'}, {why['reason']}"
                inventory += refused_rows(found, why["code"])
            progress(number, len(studies), sentence)
        table = shard.folders[0] / INVENTORY
        write_inventory(table, inventory)
        read = {study: records[0].key.digest for study, records in shard.done.items()}
        vouch(table, Key("predict_studies", read, {}, code))
        shard.kept.add(record_path(table).name)


class _ShardPredictor:
    """What a shard's studies are predicted with."""

    def __init__(self, bundle: Bundle, settings: PredictSettings, gpus: int, code: str, child: ChildProcess) -> None:
        self._bundle, self._settings, self._code, self._child = bundle, settings, code, child
        # Loaded when the first study needs it: a job that finds every study done takes no GPU.
        self._load = cache(partial(_load_predictor, bundle, settings, gpus))

    def predict(self, root: Path, found: TreeStudy, shard: Shard) -> tuple[list[Row], str]:
        """Add a study to ``shard``; return what became of its files and a sentence for the person who waits."""
        sources = self._open(root, found)
        study = sources[0].study_uid
        if study in shard.done:
            raise StudyRefused(RefusalCode.DUPLICATE_STUDY, f"the study {study} is there once more: the first is used")
        key = self._key(sources, found)
        sentence = "already predicted"

        def make(path: Path) -> Record:
            nonlocal sentence
            prediction, source = self._predicted(self._load(), sources)
            sentence = "predicted"
            named = replace(prediction, facts=replace(prediction.facts, folder_uid=found.asked_as or None))
            return write_study(path.parent, study, key, named, self._origin(source), self._settings.mask_files)

        record = shard.result(study, key, make)
        facts = PredictionFacts.from_json(record.facts)
        used = next(s for s in sources if _stacks(s.selection.series) == _stacks(facts.volume.series))
        implausible = facts.implausible if facts.source != FROM_PRIOR else ()
        why = f", implausible: {implausible[0]}" if implausible else ""
        said = f"{sentence} from {facts.source}" if facts.source != FROM_PRIOR else f"{sentence}, no vertebra found"
        return used_rows(study, found, used), f"{study}: {said}{why}"

    def _open(self, root: Path, found: TreeStudy) -> list[StudySource]:
        """Return the study's best stack, and those among which the mask decides."""
        if found.code == FAILED:
            raise StudyFailedError(found.reason)
        if found.code:
            raise StudyRefused(RefusalCode(found.code), found.reason)
        folder = found.folder()
        files = [replace(file, name=str(PurePosixPath(file.name).relative_to(folder))) for file in found.files]
        chosen = self._settings.series
        wanted = chosen.get(found.name) or chosen.get(found.asked_as) or chosen.get(EVERY_STUDY, "")
        choose: Choose = partial(the_series, wanted) if wanted else for_the_neck
        # What the index says of a file has no time of its last change.
        files = found_again(root / folder, files)
        with refused_unless_changed(root / folder, files):
            sources = self._child.call(open_candidates, root / folder, files, choose)
        require_unchanged(root / folder, files)
        if wanted and all(source.grid.headers[0].series_uid != wanted for source in sources):
            return [_with_note(source, _OTHER_SERIES) for source in sources]
        return sources

    def _origin(self, source: StudySource) -> Origin:
        wanted = self._settings.mask_files
        whose = (
            self._child.call(read_identity, source, patient=wanted.copy_patient) if "seg" in wanted.formats else None
        )
        return Origin(source, whose, self._bundle.digest)

    def _predicted(
        self, predictor: StudyPredictor, sources: Sequence[StudySource]
    ) -> tuple[StudyPrediction, StudySource]:
        """Predict, and say from which stack; lack of GPU memory fails this study, and the sentence says what to do."""
        decode = partial(_decode_in, self._child)
        settings = [self._settings_for(source) for source in sources]
        try:
            with memory_advice(OTHER_DEVICE), refused_unless_changed(sources[0].folder, sources[0].files):
                best, refused = predictor.most_of_the_neck(sources, settings, decode)
                source = sources[best]
                for number, refusal in refused.items():
                    source = without_stack(source, sources[number].selection, refusal.reason)
                return predictor.predict(source, settings[best], decode), source
        except UserError as error:
            raise StudyFailedError(str(error)) from None

    def _settings_for(self, source: StudySource) -> VolumeSettings:
        return volume_settings_for(
            self._bundle,
            source,
            allow_symlinks=self._settings.allow_symlinks,
            max_study_mb=self._settings.max_study_mb,
        )

    def _key(self, sources: Sequence[StudySource], found: TreeStudy) -> Key:
        contents, steps = zip(*((s.content_digest, self._settings_for(s).z_step) for s in sources), strict=True)
        inputs = {
            "study": contents[0] if len(contents) == 1 else digest_json(contents),
            # The record repeats what was left out and why, which the files that were used do not tell.
            "choice": digest_json([_choice(source.selection) for source in sources]),
            "bundle": self._bundle.digest,
        }
        config = {
            "z_step": steps,
            "math_threads": self._settings.math_threads,
            "flips": self._settings.flips,
            "precision": self._settings.precision,
            "members": [entry.name for entry in (*self._bundle.segmentation, *self._bundle.classification)],
            "folder": found.asked_as,
            "mask_files": asdict(self._settings.mask_files),
        }
        return Key("predict_studies", inputs, config, self._code)


def _stacks(series: Sequence[SeriesFacts]) -> list[SeriesFacts]:
    """Return a study's stacks, the used one first; only the decoder knows why some are not used."""
    return [replace(item, why_not="") for item in series]


def _with_note(source: StudySource, note: str) -> StudySource:
    return replace(source, selection=replace(source.selection, notes=[*source.selection.notes, note]))


def _choice(selection: Selection) -> list[Any]:
    return [[asdict(item) for item in selection.series], selection.notes]


def _decode_in(child: ChildProcess, source: StudySource, settings: VolumeSettings) -> StudyVolume:
    return child.call(decode_study, source, settings)


def _load_predictor(bundle: Bundle, settings: PredictSettings, gpus: int) -> StudyPredictor:
    device = use_device(settings.device, gpus, settings.math_threads).device
    with memory_advice(OTHER_DEVICE):
        return StudyPredictor(bundle, device, settings.flips, settings.precision)
