"""The label maps of a shard's studies, brought onto the grids of their volumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spine_models.data.dataset.label_files import label_files, one_label_file, require_inside
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.labels.nifti import LabelSettings, most_voxels, read_label
from spine_models.data.labels.onto_grid import half_label
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.keys import Key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.manifest import read_manifest, write_manifest
from spine_models.provenance.records import (
    Record,
    Work,
    write_array,
    write_record,
)
from spine_models.provenance.shelf import remove_strangers


def convert_labels(dataset_dir: Path, half: Path, out: Path, settings: LabelSettings, code: str) -> None:
    """Bring the label maps of a shard's studies onto their half grids.

    Args:
        dataset_dir: the data set.
        half: manifest of the half-size volumes.
        out: manifest to write.
        settings: see there.
        code: fingerprint of the code.

    Raises:
        UserError: if another process writes this shard.
    """
    folder = out.with_suffix("")
    volumes = read_manifest(half)
    done: dict[str, str] = {}
    refused: dict[str, dict[str, str]] = {}
    work = Work("convert_labels")
    with folder_lock(folder):
        files = label_files(dataset_dir)
        for study in sorted(set(volumes.studies) & set(files)):
            try:
                path = one_label_file(files[study])
                if not settings.allow_symlinks:
                    require_inside(path, dataset_dir)
                facts = volumes.record(study).facts
                done[study] = _convert_label(path, facts, folder / f"{study}.json", settings, code, work).digest
            except StudyRefused as refusal:
                refused[study] = refusal.as_entry()
        remove_strangers(folder, done)
        write_manifest(out, done, refused)
    work.say(len(refused))


def _convert_label(
    path: Path, facts: Mapping[str, Any], record_path: Path, settings: LabelSettings, code: str, work: Work
) -> Record:
    inputs = {"label": digest_file(path), "geometry": _geometry_digest(facts)}
    key = Key(
        "convert_labels", inputs, {"label_geometry": settings.label_geometry, "label_numbers": settings.numbers}, code
    )

    def make() -> Record:
        _, rows, columns = facts["shape"]
        label = read_label(path, settings, most_voxels(rows, columns, facts["slices"]))
        half, label_facts = half_label(label, facts, settings)
        name = f"{record_path.stem}.npy"
        return write_record(record_path, key, {name: write_array(record_path.with_name(name), half)}, label_facts)

    return work.result(record_path, key, make)


def _geometry_digest(facts: Mapping[str, Any]) -> str:
    names = ("affine_lps", "half_affine_lps", "half_inner_shape", "half_shape", "shape", "slices", "z_step")
    return digest_json({name: facts[name] for name in names})
