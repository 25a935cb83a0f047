"""The label maps of a shard's studies, brought onto the grids of their volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spine_models.data.dataset.disk import FilesChangedError, patiently, read_once_more
from spine_models.data.dataset.doubts import DOUBTS, write_doubts
from spine_models.data.dataset.label_files import label_files, label_state, one_label_file, require_inside
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.labels.header import LABEL_MAP, most_voxels
from spine_models.data.labels.nifti import LabelSettings, read_label
from spine_models.data.labels.onto_grid import LabelFacts, half_label
from spine_models.data.volume_facts import VolumeFacts
from spine_models.pace import paced
from spine_models.processes import ChildProcess
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.keys import Key
from spine_models.provenance.records import Record, write_array, write_record
from spine_models.provenance.shard import open_shard
from spine_models.provenance.shelf import Shelf


@dataclass(frozen=True)
class LabelInputs:
    """What the conversion of label maps reads.

    Attributes:
        dataset: the data set.
        half: manifest of the half-size volumes.
    """

    dataset: Path
    half: Path


def convert_labels(inputs: LabelInputs, out: Path, settings: LabelSettings, code: str, again: str = "") -> None:
    """Bring the label maps of a shard's studies onto their half grids.

    Args:
        inputs: the files.
        out: manifest to write.
        settings: see there.
        code: fingerprint of the code.
        again: see ``data.dataset.doubts.states_changed``.

    Raises:
        UserError: if another process writes this shard.
    """
    volumes = Shelf([inputs.half])
    files = label_files(inputs.dataset)
    config = {"label_geometry": settings.label_geometry, "label_numbers": settings.numbers}
    doubts: dict[str, str] = {}
    with ChildProcess() as child, open_shard("convert_labels", out) as shard:

        def convert(study: str) -> None:
            doubts[study] = label_state(files[study])
            watch = _Watch(files[study])
            try:
                path = one_label_file(files[study])
                if not settings.allow_symlinks:
                    require_inside(path, inputs.dataset)
                facts = volumes.facts(study, VolumeFacts)
                content = patiently(partial(digest_file, path), LABEL_MAP)
                made_from = {"label": content, "geometry": _geometry_digest(facts)}
                key = Key("convert_labels", made_from, config, code)
                shard.result(study, key, partial(_write_label, path, facts, settings, key, child, watch))
            except StudyRefused:
                watch.require_unchanged()
                raise
            del doubts[study]

        for study in paced(sorted(set(volumes.studies) & set(files)), "convert_labels"):
            with shard.study(study):
                read_once_more(partial(convert, study))
        write_doubts(shard.folders[0] / DOUBTS, doubts, again)
        shard.kept.add(DOUBTS)


class _Watch:
    """Says whether label maps are what they were when it began to watch."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._before = self._states()

    def require_unchanged(self) -> None:
        """Raise ``FilesChangedError`` if they are not, or were changed and changed back."""
        if self._states() != self._before:
            raise FilesChangedError(
                "its label map changed while it was read: wait until it is copied, then run the same command again"
            )

    def _states(self) -> list[tuple[int, int, int] | None]:
        return [_state(file) for file in self._files]


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = patiently(file.stat, LABEL_MAP)
    except FileNotFoundError:  # also a link that leads nowhere, which whoever reads it refuses
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _write_label(
    label_path: Path,
    facts: VolumeFacts,
    settings: LabelSettings,
    key: Key,
    child: ChildProcess,
    watch: _Watch,
    path: Path,
) -> Record:
    half, label_facts = child.call(_half_label_of, label_path, facts, settings)
    watch.require_unchanged()
    array = path.with_suffix(".npy")
    return write_record(path, key, {array.name: write_array(array, half)}, label_facts.to_json())


def _half_label_of(path: Path, facts: VolumeFacts, settings: LabelSettings) -> tuple[NDArray[np.uint8], LabelFacts]:
    _, rows, columns = facts.shape
    return half_label(read_label(path, settings, most_voxels(rows, columns, facts.slices)), facts, settings)


def _geometry_digest(facts: VolumeFacts) -> str:
    names = ("affine_lps", "half_affine_lps", "half_inner_shape", "half_shape", "shape", "slices", "z_step")
    values = facts.to_json()
    return digest_json({name: values[name] for name in names})
