"""A shard's studies to arrays: what is there already under the digest of its source files is not made again."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spine_models.data.dataset import layout
from spine_models.data.dataset.disk import read_once_more
from spine_models.data.dataset.doubts import DOUBTS, write_doubts
from spine_models.data.dataset.index import read_index
from spine_models.data.dataset.label_files import label_files
from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dicom.series import UNREAD
from spine_models.data.dicom.study import (
    StudySource,
    VolumeSettings,
    decode_planes,
    open_study,
    refused_unless_changed,
    require_unchanged,
    volume_shape,
)
from spine_models.data.stages.label_stack import LabelGrid, label_grid, stack_of
from spine_models.errors import StorageError
from spine_models.pace import paced
from spine_models.processes import ChildProcess
from spine_models.provenance.keys import Key
from spine_models.provenance.records import (
    FileFacts,
    Record,
    find_record,
    write_array,
    write_record,
    writing_array,
)
from spine_models.provenance.sealed import read_sealed, write_sealed
from spine_models.provenance.shard import Shard, open_shard

SOURCE_SUFFIX = ".source.json"


@dataclass(frozen=True)
class VolumeInputs:
    """What the conversion reads.

    Attributes:
        dataset: the data set.
        index: the shard's index.
    """

    dataset: Path
    index: Path


def convert_volumes(
    inputs: VolumeInputs, volumes: Path, half: Path, settings: VolumeSettings, code: str, again: str = ""
) -> None:
    """Convert the studies of one shard to full and half-size volumes; one study is in memory at a time.

    Args:
        inputs: the files.
        volumes: manifest to write for the full volumes; arrays and records are in the folder of its name.
        half: likewise for the half-size volumes.
        settings: see there.
        code: fingerprint of the code.
        again: see ``data.dataset.doubts.states_changed``.

    Raises:
        UserError: if another process writes this shard.
    """
    labels = label_files(inputs.dataset)
    with ChildProcess() as child, open_shard("convert_volumes", volumes, half) as shard:
        converter = _Converter(inputs.dataset, settings, code, shard, child)
        for row in paced(read_index(inputs.index), "convert_volumes"):
            if not row.refused_code:
                with shard.study(row.study):
                    grid = label_grid(labels.get(row.study, []), inputs.dataset, settings)
                    read_once_more(partial(converter.convert, row.study, grid))
        write_doubts(shard.folders[0] / DOUBTS, converter.doubts, again)
        shard.kept.add(DOUBTS)


class _Converter:
    """Converts the studies of a shard.

    Attributes:
        doubts: study to the state of its files, for those that were refused or of which a file could not be read.
    """

    def __init__(self, dataset: Path, settings: VolumeSettings, code: str, shard: Shard, child: ChildProcess) -> None:
        self._dataset, self._settings, self._code, self._shard, self._child = dataset, settings, code, shard, child
        self.doubts: dict[str, str] = {}

    def convert(self, study: str, grid: LabelGrid | None) -> None:
        """Find or make the volumes of a study; ``grid`` is that of its label map."""
        folder, settings, folders = self._dataset / layout.IMAGES / study, self._settings, self._shard.folders
        side = folders[0] / f"{study}{SOURCE_SUFFIX}"
        files = layout.list_files(folder, self._dataset, settings.allow_symlinks)
        state = self.doubts[study] = layout.stat_digest(files)
        read = {"stat": state, "label": grid.digest if grid else "", "code": self._code}
        source: StudySource | None = None
        known = _remembered(side, read)
        if known is None:
            source = self._open(folder, files, grid)
            known = {"inputs": _inputs(source, grid), **_described(source)}
            require_unchanged(folder, files)
            write_sealed(side, {**read, **known})
        config = {name: getattr(settings, name) for name in ("z_step", "half_size", "hu_limits")}
        key = Key("convert_volumes", known["inputs"], config, self._code)
        paths = folders[0] / f"{study}.json", folders[1] / f"{study}.json"
        found = find_record(paths[0], key, dropped=not settings.keep_volumes), find_record(paths[1], key)

        def make() -> tuple[Record, Record]:
            opened = source or self._open(folder, files, grid)
            _require_space(folders, opened, settings)
            with refused_unless_changed(folder, files):
                made = self._child.call(write_arrays, opened, settings, *(path.with_suffix(".npy") for path in paths))
            return write_record(paths[0], key, made.full, {}), write_record(paths[1], key, made.half, made.facts)

        self._shard.done[study] = self._shard.work.count((found[0], found[1]) if found[0] and found[1] else None, make)
        self._shard.kept.add(side.name)
        if not any(item["why"].startswith(UNREAD) for item in known["left_out"]):
            del self.doubts[study]

    def _open(self, folder: Path, files: list[StudyFile], grid: LabelGrid | None) -> StudySource:
        with refused_unless_changed(folder, files):
            return self._child.call(open_study, folder, self._dataset, self._settings, stack_of(grid))


def _require_space(folders: Sequence[Path], source: StudySource, settings: VolumeSettings) -> None:
    """Look for the space that a study's volumes take, before it is decoded.

    Raises:
        StorageError: if there is less.
    """
    slices, rows, columns = source.grid.shape
    kept = -(-slices // settings.z_step)
    sizes = kept * rows * columns * int(settings.keep_volumes), kept * settings.half_size**2
    for folder, voxels in zip(folders, sizes, strict=True):
        if shutil.disk_usage(folder).free < voxels * np.dtype(np.int16).itemsize:
            raise StorageError.of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)))


@dataclass(frozen=True)
class Arrays:
    """What the records of a study say: of both arrays, and of the volume."""

    full: dict[str, FileFacts]
    half: dict[str, FileFacts]
    facts: dict[str, Any]


def write_arrays(source: StudySource, settings: VolumeSettings, full: Path, half: Path) -> Arrays:
    """Decode a study and write its arrays a plane at a time, in the child: only what the records say of them goes back.

    Without ``keep_volumes``, the full-size array is only described.
    """
    shape = volume_shape(source, settings)
    with writing_array(full if settings.keep_volumes else None, shape, np.dtype(np.int16)) as slices:
        voxels, facts = decode_planes(source, settings, slices.write)
    if not settings.keep_volumes:
        full.unlink(missing_ok=True)
    return Arrays({full.name: slices.facts}, {half.name: write_array(half, voxels)}, facts.to_json())


def _inputs(source: StudySource, grid: LabelGrid | None) -> dict[str, str]:
    """Return what a study's volume is made from; the label map counts where there are several stacks to choose from."""
    inputs = {"files": source.content_digest}
    if grid is not None and len(source.selection.series) > 1:
        inputs["label"] = grid.digest
    return inputs


def _remembered(side: Path, read: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what was found in files with these names, sizes and times, None if they differ."""
    try:
        known = read_sealed(side)
        found = {"inputs": dict(known["inputs"]), "left_out": list(known["left_out"])}
        return found if {name: known[name] for name in read} == read else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _described(source: StudySource) -> dict[str, Any]:
    return {
        "used": [file.name for file in source.used_files],
        "left_out": [asdict(item) for item in source.selection.left_out],
    }


def overwritten_studies(volumes: Path, stats: Mapping[str, str]) -> list[str]:
    """Return the studies whose files are no longer those that they were converted from.

    Args:
        volumes: folder of the rule's output, with a folder a shard.
        stats: study to its present ``layout.stat_digest``.
    """
    found = []
    for path in sorted(volumes.glob(f"*/*{SOURCE_SUFFIX}")):
        study = path.name.removesuffix(SOURCE_SUFFIX)
        if study in stats and _stat_in(path) not in (None, stats[study]):
            found.append(study)
    return found


def _stat_in(side: Path) -> str | None:
    """Return the ``layout.stat_digest`` that a study was converted under; None where the file says nothing."""
    try:
        return str(read_sealed(side)["stat"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
