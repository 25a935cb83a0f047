"""One study: from the files of its folder to a full and a half-size volume of Hounsfield units."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import DeflatedExplicitVRLittleEndian

from spine_models.data.dataset import layout
from spine_models.data.dataset.disk import FilesChangedError, patiently
from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dataset.uids import is_uid
from spine_models.data.dicom import series
from spine_models.data.dicom.choice import Choose, most_slices, plain_text
from spine_models.data.dicom.geometry import Grid, GridSlice, build_grid
from spine_models.data.dicom.half import HalfSlices, HalfVolume, Volume, half_affine
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.patients import patient_group
from spine_models.data.dicom.pixels import check_claims, is_lossy, read_hounsfield
from spine_models.data.volume_facts import Affine, VolumeFacts
from spine_models.provenance.canonical import digest_file

MAX_STUDY_MB = 1000
"""1,900 slices of 512 x 512."""
_LONGEST_NAME = 32
_CHANGED = "its files changed while they were read: wait until they are copied, then run the same command again"
THICK_SPACING_MM = 2.0
"""Above this spacing, after ``z_step``, a C vertebra has fewer than six slices: a note says so."""


@dataclass(frozen=True)
class VolumeSettings:
    """How studies become volumes.

    Attributes:
        z_step: every ``z_step``-th slice is used, from the most superior one on; the others are never decoded.
        half_size: pixels of the longest side, and of both sides after padding, of the half-size volume.
        hu_limits: least and largest Hounsfield units; values beyond are set to the limit (scanners write -2048 or -3024
            outside their circle, and 30000 for metal). None limits nothing.
        allow_symlinks: follow links that lead out of the data set.
        max_study_mb: largest full-size volume (megabytes); what is larger is refused. No part of the key of a result.
        keep_volumes: store the full-size volume; no part of the key of a result.
        label_geometry: of a data set's label maps; see ``labels.nifti.LabelSettings``. It tells which of several stacks
            a label map was drawn on.
    """

    z_step: int = 2
    half_size: int = 256
    hu_limits: tuple[int, int] | None = None
    max_study_mb: int = MAX_STUDY_MB
    allow_symlinks: bool = False
    keep_volumes: bool = True
    label_geometry: str = "affine"


@dataclass(frozen=True)
class StudyVolume:
    """A study as the networks see it.

    Attributes:
        full: int16 HU (z, y, x), axes towards the feet, the back and the patient's left.
        half: int16 HU (z, half_size, half_size), padded at the bottom and right with ``AIR_HU``.
        facts: geometry, statistics and notes, as stored in the record.
    """

    full: Volume
    half: Volume
    facts: VolumeFacts


@dataclass(frozen=True)
class StudySource:
    """The files of a study that make its volume, known from their headers only.

    Attributes:
        folder: where they are.
        files: every file of the folder.
        selection: which are used, and what was left out.
        grid: where their slices are.
        z_step: every so many planes are decoded; of files with other planes only the header counts.
    """

    folder: Path
    files: list[StudyFile]
    selection: series.Selection
    grid: Grid
    z_step: int = 1

    @cached_property
    def used_files(self) -> list[StudyFile]:
        """The files whose content makes the volume, sorted by name."""
        headers = [*self.selection.headers, *(header for _, header in self.selection.repeats)]
        return sorted({header.file for header in headers}, key=lambda file: file.name)

    @property
    def planes(self) -> list[GridSlice]:
        """The planes of the grid that are decoded."""
        return self.grid.slices[:: self.z_step]

    @cached_property
    def content_digest(self) -> str:
        """SHA-256 over (name, size, SHA-256) of the files that are used.

        Of a file of which nothing is decoded it is the SHA-256 of its header, which places it: another header or size
        is another content, other pixels are not.
        """
        decoded = self._decoded()
        sha = hashlib.sha256()
        for file in self.used_files:
            digest = self._digest_of(file, None if file.name in decoded else self._pixel_offsets.get(file.name))
            sha.update(f"{file.name}\0{file.size}\0{digest}\n".encode("utf-8", "surrogateescape"))
        return sha.hexdigest()

    def _decoded(self) -> set[str]:
        """Return the names of the files whose pixels are read, copies of the same slice among them."""
        used = {self.grid.headers[index] for plane in self.planes for index in (plane.upper, plane.lower)}
        copies = {copy for twin, copy in self.selection.repeats if self.selection.headers[twin] in used}
        return {header.name for header in used | copies}

    @cached_property
    def _pixel_offsets(self) -> dict[str, int]:
        """Where the header of a file ends; files whose offset counts inflated bytes are left out."""
        headers = (*self.selection.headers, *(header for _, header in self.selection.repeats))
        return {
            header.name: header.pixel_offset
            for header in headers
            if header.pixel_offset is not None and header.transfer_syntax != DeflatedExplicitVRLittleEndian
        }

    def _digest_of(self, file: StudyFile, length: int | None) -> str:
        return patiently(lambda: digest_file(self.folder / file.name, length), "a file of the study")

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID, or a digest of the content where the files have none (or no valid one)."""
        uid = self.grid.headers[0].study_uid
        return uid if is_uid(uid) else f"study-{self.content_digest[:32]}"

    @property
    def group(self) -> str:
        """Digest of the PatientID, "" where the files have none; see ``patient_group``."""
        return patient_group(self.grid.headers[0].patient_id)


def open_study(folder: Path, root: Path, settings: VolumeSettings, choose: Choose = most_slices) -> StudySource:
    """Read the headers of a study's folder, select its axial stack and place it.

    Args:
        folder: with the study's files, in folders of series or not.
        root: folder that symbolic links must not lead out of.
        settings: see there.
        choose: which of several axial stacks is read.

    Raises:
        StudyRefused: with the code that says why the study cannot be used.
    """
    files = layout.list_files(folder, root, settings.allow_symlinks)
    return replace(open_candidates(folder, files, choose)[0], z_step=settings.z_step)


def open_candidates(folder: Path, files: list[StudyFile], choose: Choose) -> list[StudySource]:
    """Read the headers of a study's files; select and place the best axial stack, and those that may be as good.

    A stack that cannot be placed takes none along that may be as good.

    Args:
        folder: that the files' names start from.
        files: of the study.
        choose: which of several axial stacks is the best.

    Raises:
        StudyRefused: with the code that says why the study cannot be used.
    """
    headers, aside = series.read_folder(folder, files)
    selections = series.select(headers, aside, choose)
    sources, refused = [], []
    for selection in selections:
        try:
            sources.append(StudySource(folder, files, selection, build_grid(selection.headers)))
        except StudyRefused as refusal:
            refused.append((selection, refusal))
    if not sources:
        raise refused[0][1]
    for selection, why in refused:
        sources = [without_stack(source, selection, why.reason) for source in sources]
    return sources


def without_stack(source: StudySource, other: series.Selection, reason: str) -> StudySource:
    """Return a source that says why another stack of its study is not used.

    Args:
        source: what is used.
        other: the other stack.
        reason: a sentence.
    """
    whose = replace(other.series[0], why_not="")
    first, *others = source.selection.series
    told = [replace(item, why_not=reason) if replace(item, why_not="") == whose else item for item in others]
    return replace(source, selection=replace(source.selection, series=[first, *told]))


def read_study(folder: Path, settings: VolumeSettings, root: Path | None = None) -> StudyVolume:
    """Read a study into memory; see ``open_study`` and ``decode_study``."""
    return decode_study(open_study(folder, root or folder, settings), settings)


def decode_study(source: StudySource, settings: VolumeSettings) -> StudyVolume:
    """Decode a study into memory; see ``decode_planes``."""
    full = np.empty(volume_shape(source, settings), np.int16)
    planes = iter(full)

    def put(pixels: Volume) -> None:
        next(planes)[...] = pixels

    half, facts = decode_planes(source, settings, put)
    return StudyVolume(full, half, facts)


def volume_shape(source: StudySource, settings: VolumeSettings) -> tuple[int, int, int]:
    """Return the shape (z, y, x) of a study's full-size volume, before anything is decoded or memory is taken for it.

    Raises:
        StudyRefused: if a header claims what cannot be, or the volume has one slice or is too large.
    """
    grid = source.grid
    depth = len(grid.slices[:: settings.z_step])
    if depth < 2:
        raise StudyRefused(
            RefusalCode.TOO_FEW_SLICES,
            f"z_step {settings.z_step} leaves one of {len(grid.slices)} slices, which is not a volume",
        )
    shape = (depth, *grid.shape[1:])
    for header in grid.headers:
        check_claims(header)
    require_size(shape, settings.max_study_mb)
    return shape


def decode_planes(
    source: StudySource, settings: VolumeSettings, put: Callable[[Volume], object]
) -> tuple[Volume, VolumeFacts]:
    """Decode the slices that ``z_step`` leaves and bring them onto the full and the half grid, one after the other.

    Args:
        source: the study.
        settings: see there.
        put: takes each plane of the full-size volume, in turn, (y, x) in C order.

    Returns:
        the half-size volume, and the facts of the record.

    Raises:
        StudyRefused: as ``volume_shape``; or if a slice cannot be decoded or the volume has no contrast, when planes
            have been put.
        FilesChangedError: if a file is no longer what it was when it was found.
    """
    grid = source.grid
    slices = HalfSlices(volume_shape(source, settings), settings.half_size)
    planes = grid.slices[:: settings.z_step]
    for pixels in _decoded(source, planes, settings.hu_limits):
        plane = np.ascontiguousarray(grid.in_plane.apply(pixels))
        put(plane)
        slices.add(plane)
    require_unchanged(source.folder, source.used_files)
    half = slices.volume()
    if half.std == 0:
        raise StudyRefused(RefusalCode.PIXELS_CONSTANT, "all pixels have the same value")
    notes = (*source.selection.notes, *grid.notes, *_pixel_notes(source, planes, settings))
    raw_zero_hu = _raw_zero_hu(grid.headers[planes[0].upper], settings)
    return half.voxels, _facts(source, settings, half, raw_zero_hu, notes)


def require_unchanged(folder: Path, files: list[StudyFile]) -> None:
    """Compare the files that were read with what they were when they were found.

    Raises:
        FilesChangedError: if one of them is gone, its size or time is another, or it was changed and changed back.
    """
    for file, now in zip(files, found_again(folder, files), strict=True):
        if file.changed_ns not in (0, now.changed_ns):
            raise FilesChangedError(_CHANGED)


def found_again(folder: Path, files: Iterable[StudyFile]) -> list[StudyFile]:
    """Return files with the times of their last change, as they are now.

    Raises:
        FilesChangedError: if one of them is gone, or its size or time is another.
    """
    found = []
    for file in files:
        try:
            now = patiently((folder / file.name).stat, "a file of the study")
        except FileNotFoundError:
            raise FilesChangedError(_CHANGED) from None
        if (now.st_size, now.st_mtime_ns) != (file.size, file.mtime_ns):
            raise FilesChangedError(_CHANGED)
        found.append(replace(file, changed_ns=now.st_ctime_ns))
    return found


@contextmanager
def refused_unless_changed(folder: Path, files: list[StudyFile]) -> Iterator[None]:
    """Let a refusal pass; where files changed meanwhile, as in a copy that is not finished, that is the reason."""
    try:
        yield
    except StudyRefused:
        require_unchanged(folder, files)
        raise


def require_size(shape: tuple[int, int, int], max_study_mb: int) -> None:
    """Compare what a full-size volume would take with the limit.

    Raises:
        StudyRefused: ``too_large``.
    """
    megabytes = math.prod(shape) * np.dtype(np.int16).itemsize / 1e6
    if megabytes > max_study_mb:
        raise StudyRefused(
            RefusalCode.TOO_LARGE,
            f"a volume of {shape[0]} x {shape[1]} x {shape[2]} voxels takes {math.ceil(megabytes)} MB; max_study_mb is "
            f"{max_study_mb}",
        )


def stepped_affine(affine: NDArray[np.float64], z_step: int) -> NDArray[np.float64]:
    """Return the affine of every ``z_step``-th slice."""
    stepped: NDArray[np.float64] = affine @ np.diag([float(z_step), 1.0, 1.0, 1.0])
    return stepped


def _decoded(source: StudySource, planes: list[GridSlice], limits: tuple[int, int] | None) -> Iterator[Volume]:
    """Decode and limit the planes one after the other; a slice that two blends share is decoded once."""
    recent: dict[int, Volume] = {}

    def decode(index: int) -> Volume:
        if index not in recent:
            while len(recent) > 1:
                recent.pop(next(iter(recent)))
            pixels = read_hounsfield(source.folder, source.grid.headers[index])
            recent[index] = pixels if limits is None else np.clip(pixels, *limits)
        return recent[index]

    for plane in planes:
        upper = decode(plane.upper)
        if plane.weight == 0:
            yield upper
            continue
        lower = decode(plane.lower)
        blend = upper * (1 - plane.weight) + lower * plane.weight
        yield np.rint(blend).astype(np.int16)


def _raw_zero_hu(header: SliceHeader, settings: VolumeSettings) -> float:
    """Return the HU of the stored value 0 in a slice, within the limits that its pixels have."""
    limits = settings.hu_limits or (np.iinfo(np.int16).min, np.iinfo(np.int16).max)
    return float(np.clip(header.intercept or 0.0, *limits))


def _pixel_notes(source: StudySource, planes: list[GridSlice], settings: VolumeSettings) -> list[str]:
    notes = []
    headers = source.grid.headers
    used = {plane.upper for plane in planes} | {plane.lower for plane in planes}
    if any(is_lossy(headers[index]) for index in used):
        notes.append("lossy compression")
    if len({(headers[index].slope, headers[index].intercept) for index in used}) > 1:
        notes.append("the rescale to Hounsfield units changes from slice to slice")
    if source.selection.repeats:
        notes.append(_repeat_note(source, {source.grid.headers[index] for index in used}))
    spacing = source.grid.spacing[0] * settings.z_step
    if spacing > THICK_SPACING_MM:
        advice = "; use z_step: 1" if settings.z_step > 1 else ""
        notes.append(f"slices are {spacing:.2f} mm apart after z_step: a vertebra has few of them{advice}")
    if source.grid.tilt_degrees:
        notes.append(f"slices are sheared by {source.grid.tilt_degrees:.2f} degrees (gantry tilt)")
    return notes


def _repeat_note(source: StudySource, used: set[SliceHeader]) -> str:
    """Say whether slices at the same positions hold the same pixels; only slices that are used anyway are compared.

    Raises:
        StudyRefused: ``series_ambiguous`` if they do not, and nothing says which of them belong together.
    """
    count = len(source.selection.repeats)
    for twin, header in source.selection.repeats:
        chosen = source.selection.headers[twin]
        if chosen not in used or not _differ(source.folder, chosen, header):
            continue
        if not source.selection.certain:
            raise StudyRefused(
                RefusalCode.SERIES_AMBIGUOUS,
                "slices at the same positions differ, and no number or UID says which of them belong together",
            )
        told_by = source.selection.told_by
        return f"{count} slices of another pass at the same positions left out, told apart by the {told_by}"
    return f"{count} repeated slices with equal pixels left out"


def _differ(folder: Path, one: SliceHeader, other: SliceHeader) -> bool:
    try:
        return not np.array_equal(read_hounsfield(folder, one), read_hounsfield(folder, other))
    except StudyRefused:  # the one that is used has been decoded: a damaged copy of it is not a second pass
        return False


def _facts(
    source: StudySource,
    settings: VolumeSettings,
    half: HalfVolume,
    raw_zero_hu: float,
    notes: tuple[str, ...],
) -> VolumeFacts:
    grid = source.grid
    slices, rows, columns = grid.shape
    affine = stepped_affine(grid.affine, settings.z_step)
    frame = grid.headers[0].frame_of_reference
    factor = settings.half_size / max(rows, columns)
    return VolumeFacts(
        shape=(half.inner_shape[0], rows, columns),
        half_shape=(half.inner_shape[0], settings.half_size, settings.half_size),
        half_inner_shape=half.inner_shape,
        half_factor=factor,
        spacing_mm=(grid.spacing[0] * settings.z_step, grid.spacing[1], grid.spacing[2]),
        affine_lps=_rows(affine),
        half_affine_lps=_rows(half_affine(affine, factor)),
        slices=slices,
        z_step=settings.z_step,
        tilt_degrees=grid.tilt_degrees,
        oblique_degrees=grid.oblique_degrees,
        group=source.group,
        frame_of_reference=frame if is_uid(frame) else "",
        mean=half.mean,
        std=half.std,
        raw_zero_hu=raw_zero_hu,
        notes=notes,
        series=tuple(source.selection.series),
        manufacturer=plain_text(grid.headers[0].manufacturer, _LONGEST_NAME),
    )


def _rows(affine: NDArray[np.float64]) -> Affine:
    return tuple(tuple(row) for row in affine.tolist())
