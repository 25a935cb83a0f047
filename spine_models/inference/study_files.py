"""What is written for a predicted study: masks, pictures, record.

No file holds a patient's name, but for a DICOM SEG that is asked to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from spine_models.data.dicom.identity import Identity
from spine_models.data.dicom.study import StudySource
from spine_models.inference.mask_nifti import write_nifti
from spine_models.inference.mask_seg import SegSource, seg_refusal, write_seg
from spine_models.inference.original_slices import OriginalSlices
from spine_models.inference.overlays import axial_picture, picture_source, sagittal_picture, save_png
from spine_models.inference.predict_study import StudyPrediction
from spine_models.inference.prediction_files import SUFFIXES, MaskFileSettings
from spine_models.levels import LEVELS
from spine_models.provenance.files import write_json
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record, file_facts, write_record


@dataclass(frozen=True)
class Origin:
    """What a study's files are made over.

    Attributes:
        source: the study's own files.
        identity: of the study; None where no file repeats it.
        bundle_digest: of the bundle that predicted.
    """

    source: StudySource
    identity: Identity | None
    bundle_digest: str


def write_study(
    folder: Path, study: str, key: Key, prediction: StudyPrediction, origin: Origin, settings: MaskFileSettings
) -> Record:
    """Write masks, pictures and the images of the page of a study, then its record.

    The axial picture shows the level with the highest probability, without probabilities the slice with most of a mask.

    Args:
        folder: of the shard.
        study: what the files are called.
        key: see ``provenance.keys.Key``.
        prediction: of the study.
        origin: what the masks are shown over; it has an identity where ``settings`` ask for a DICOM SEG.
        settings: which files.
    """
    paths = {kind: folder / f"{study}{suffix}" for kind, suffix in SUFFIXES.items()}
    facts, volume = prediction.facts, prediction.facts.volume
    rows, columns = volume.half_inner_shape[1:]
    slices = OriginalSlices(prediction.mask[:, :rows, :columns], origin.source.grid, volume.z_step, volume.half_factor)
    written = ["sagittal", "axial"]
    if "nifti" in settings.formats:
        facts = replace(facts, notes=(*facts.notes, *write_nifti(paths["nifti"], slices)))
        written.append("nifti")
    if "seg" in settings.formats and origin.identity is not None:
        refusal = seg_refusal(origin.source.grid.headers)
        if refusal:
            facts = replace(facts, notes=(*facts.notes, refusal))
        else:
            digests = origin.source.content_digest, origin.bundle_digest
            write_seg(paths["seg"], slices, SegSource(origin.identity, *digests, settings.empty_frames))
            written.append("seg")
    source = picture_source(prediction.half, prediction.mask, volume.shape, volume.half_factor, volume.spacing_mm)
    save_png(paths["sagittal"], sagittal_picture(source))
    probabilities = facts.probabilities
    shown = max(LEVELS, key=lambda level: probabilities[level]) if probabilities else None
    # The slice that the study's page goes to first.
    save_png(paths["axial"], axial_picture(source, shown, facts.places.slices.get(shown or "")))
    write_json(paths["view"], prediction.images)
    written.append("view")
    files = {paths[kind].name: file_facts(paths[kind]) for kind in SUFFIXES if kind in written}
    return write_record(folder / f"{study}.json", key, files, facts.to_json())
