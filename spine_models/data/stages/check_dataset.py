"""What a data set looks like, from headers only: which studies could not be used, and a summary of the others."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from spine_models.data.dataset import layout, tables
from spine_models.data.dataset.label_files import label_files, one_label_file, require_inside
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dataset.uids import study_id
from spine_models.data.dicom.headers import SliceHeader
from spine_models.data.dicom.pixels import check_claims, is_lossy
from spine_models.data.dicom.study import StudySource, VolumeSettings, open_study
from spine_models.data.labels.nifti import LabelSettings
from spine_models.data.labels.onto_grid import check_label
from spine_models.data.stages.collect_quarantine import unshared
from spine_models.data.stages.convert_volumes import overwritten_studies
from spine_models.data.stages.label_stack import label_grid, stack_of
from spine_models.errors import StudyFailedError, UserError
from spine_models.levels import LEVELS
from spine_models.processes import begin_pool_worker

Progress = Callable[[int], None]
"""Called with the number of files read so far."""


@dataclass(frozen=True)
class StudyReport:
    """One study's folder, as its headers show it.

    Attributes:
        study: id; see ``uids.study_id``.
        files: number of files.
        stat: see ``layout.stat_digest``; "" if the study could not be looked at.
        refused: (stage, code, reason) for whatever is refused; empty for a study that can be used.
        slices: planes of the regular grid; 0 if the study cannot be read, likewise the rest.
        step_mm: between planes, along the normal.
        extent_mm: from the first plane to the last.
        sides: (rows, columns) of a slice.
        direction: "falls", "rises" or "mixed": how z goes as the file number rises.
        first_number: the lowest instance number.
        numbers_missing: there are gaps in the instance numbers.
        irregular: steps differ, and planes are interpolated.
        thickness_differs: SliceThickness is not the real step.
        tilted: sheared, or more than half a degree off the axial plane.
        transfer_syntax: of the first slice.
        lossy: a slice was compressed with loss.
        has_label: there is a label map.
        notes: sentences on everything out of the ordinary.
    """

    study: str
    files: int
    stat: str
    refused: tuple[tuple[str, str, str], ...] = ()
    slices: int = 0
    step_mm: float = 0.0
    extent_mm: float = 0.0
    sides: tuple[int, int] = (0, 0)
    direction: str = ""
    first_number: int = 1
    numbers_missing: bool = False
    irregular: bool = False
    thickness_differs: bool = False
    tilted: bool = False
    transfer_syntax: str = ""
    lossy: bool = False
    has_label: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetReport:
    """A data set.

    Attributes:
        studies: one entry a folder.
        mistakes: sentences on its tables.
        prevalence: part of the studies in ``train.csv`` with a fracture: overall and by level.
        broken_levels: number of fractured levels to number of studies in ``train.csv``.
        unlisted: (study, stage, code, reason) for what folders, ``train.csv`` and label maps do not share.
        overwritten: studies whose files are not those that they were converted from.
        seconds: that the headers took.
        processes: that read them.
    """

    studies: list[StudyReport]
    mistakes: list[str]
    prevalence: dict[str, float]
    broken_levels: dict[int, int]
    unlisted: list[tuple[str, str, str, str]]
    overwritten: list[str]
    seconds: float
    processes: int

    @property
    def quarantine(self) -> list[tuple[str, str, str, str]]:
        """(study, stage, code, reason), as ``index/quarantine.csv`` will have them unless pixels are damaged too."""
        found = [(report.study, *why) for report in self.studies for why in report.refused]
        return sorted([*found, *self.unlisted])

    @property
    def failed(self) -> bool:
        """Studies could not be looked at, for a reason that says nothing about them."""
        return any(why[1] == RefusalCode.FAILED.value for report in self.studies for why in report.refused)

    @property
    def files(self) -> int:
        """Number of files read."""
        return sum(report.files for report in self.studies)


def check_dataset(
    dataset_dir: Path,
    allow_symlinks: bool,
    output_dir: Path | None,
    processes: int,
    progress: Progress,
    label_geometry: str = "affine",
) -> DatasetReport:
    """Look at every study of a data set, by headers only, on several cores.

    Args:
        dataset_dir: the data set.
        allow_symlinks: follow links that lead out of it.
        output_dir: of an earlier run, to find files overwritten since; None: do not look.
        processes: that read headers.
        progress: told after each study.
        label_geometry: see ``LabelSettings``.

    Raises:
        UserError: if the folder is not a data set, or a process that reads headers dies.
    """
    root = layout.require_dataset(dataset_dir)
    names = [entry.name for entry in layout.study_folders(root / layout.IMAGES)]
    settings = LabelSettings(label_geometry, allow_symlinks=allow_symlinks)
    begin = time.perf_counter()
    reports = []
    try:
        with ProcessPoolExecutor(processes, initializer=begin_pool_worker) as pool:
            jobs = pool.map(check_study, [root] * len(names), names, [settings] * len(names), chunksize=4)
            for report in jobs:
                reports.append(report)
                progress(report.files)
    except BrokenProcessPool:
        raise UserError(
            "a process that read headers died, perhaps for lack of memory: run the check with fewer --processes"
        ) from None
    seconds = time.perf_counter() - begin
    mistakes, tables_say = _tables(root)
    changed = (
        overwritten_studies(output_dir / "volumes", {r.study: r.stat for r in reports if r.stat}) if output_dir else []
    )
    unlisted = [] if mistakes else _unlisted(reports, tables_say.listed, label_files(root))
    return DatasetReport(
        reports,
        mistakes,
        tables_say.prevalence,
        tables_say.broken_levels,
        unlisted,
        changed,
        seconds,
        processes,
    )


def check_study(dataset_dir: Path, name: str, settings: LabelSettings) -> StudyReport:
    """Look at the headers of one study's files; one that cannot be looked at has the code ``failed``."""
    try:
        return _checked(dataset_dir, name, settings)
    except StudyFailedError as error:
        why = str(error)
    except Exception as error:  # a bug, or memory that is not there, must not take the other studies along
        why = f"{type(error).__name__} while its headers were read"
    return StudyReport(study_id(name), 0, "", (("index", RefusalCode.FAILED.value, why),))


def _checked(dataset_dir: Path, name: str, settings: LabelSettings) -> StudyReport:
    study, images = study_id(name), dataset_dir / layout.IMAGES
    labels = label_files(dataset_dir).get(study, [])
    files: list[layout.StudyFile] = []
    try:
        files = layout.list_study(images, name, settings.allow_symlinks)
        volumes = VolumeSettings(allow_symlinks=settings.allow_symlinks, label_geometry=settings.label_geometry)
        choose = stack_of(label_grid(labels, dataset_dir, volumes))
        source = open_study(images / name, dataset_dir, volumes, choose)
        for header in source.grid.headers:
            check_claims(header)
    except StudyRefused as refusal:
        stage = "index" if not files else "volumes"
        refused = (stage, refusal.code.value, refusal.reason)
        return StudyReport(study, len(files), layout.stat_digest(files), (refused,))
    report = _report(study, source)
    if not labels:
        return report
    try:
        label = one_label_file(labels)
        if not settings.allow_symlinks:
            require_inside(label, dataset_dir)
        check_label(label, source.grid.affine, source.grid.shape, settings)
    except StudyRefused as refusal:
        report = replace(report, refused=(("labels", refusal.code.value, refusal.reason),))
    return replace(report, has_label=True)


def _report(study: str, source: StudySource) -> StudyReport:
    grid, first = source.grid, source.grid.headers[0]
    numbers = sorted({header.instance for header in grid.headers if header.instance is not None})
    step = grid.spacing[0]
    return StudyReport(
        study=study,
        files=len(source.files),
        stat=layout.stat_digest(source.files),
        slices=grid.shape[0],
        step_mm=step,
        extent_mm=step * (grid.shape[0] - 1),
        sides=(first.rows, first.columns),
        direction=_direction(grid.headers),
        first_number=int(min(numbers, default=1)),
        numbers_missing=any(after - before != 1 for before, after in pairwise(numbers)),
        irregular=any(plane.weight for plane in grid.slices),
        thickness_differs=first.thickness is not None and abs(first.thickness - step) > 0.01 * step,
        tilted=grid.tilt_degrees != 0 or grid.oblique_degrees > 0.5,
        transfer_syntax=first.transfer_syntax,
        lossy=any(is_lossy(header) for header in grid.headers),
        notes=(*source.selection.notes, *grid.notes),
    )


def _direction(headers: Sequence[SliceHeader]) -> str:
    """Say how z goes as the instance number rises, for slices in order from the head down."""
    steps = np.sign(np.diff([header.instance or 0 for header in headers]))
    if (steps > 0).all():
        return "falls"
    return "rises" if (steps < 0).all() else "mixed"


@dataclass(frozen=True)
class _TrainFacts:
    """What ``train.csv`` says; see ``DatasetReport``."""

    listed: frozenset[str] = frozenset()
    prevalence: dict[str, float] = field(default_factory=dict)
    broken_levels: dict[int, int] = field(default_factory=dict)


def _tables(root: Path) -> tuple[list[str], _TrainFacts]:
    """Read every table there is: sentences on mistakes, and what ``train.csv`` says."""
    mistakes: list[str] = []
    facts = _TrainFacts()
    try:
        train = tables.read_train(layout.require_train_table(root))
        prevalence = {name: float(train[name].mean()) for name in ("patient_overall", *LEVELS)}
        broken = Counter(int(count) for count in train[list(LEVELS)].sum(axis=1))
        facts = _TrainFacts(frozenset(train["StudyInstanceUID"]), prevalence, dict(broken))
    except UserError as error:
        mistakes.append(str(error))
    readers: tuple[tuple[str, Callable[[Path], object]], ...] = (
        (layout.BOXES_TABLE, lambda path: tables.read_boxes(path, set(facts.listed)) if facts.listed else None),
        (layout.TEST_TABLE, tables.read_test),
    )
    for name, reader in readers:
        try:
            if (root / name).is_file():
                reader(root / name)
        except UserError as error:
            mistakes.append(str(error))
    return mistakes, facts


def _unlisted(
    reports: Iterable[StudyReport], listed: frozenset[str], labelled: Collection[str]
) -> list[tuple[str, str, str, str]]:
    there = {report.study for report in reports}
    usable = {report.study for report in reports if report.slices}
    return [(row.study, row.stage, row.code, row.reason) for row in unshared(there, usable, listed, labelled)]


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def summary_lines(report: DatasetReport) -> list[str]:
    """Say what the studies that can be used look like, one line a fact."""
    good = [study for study in report.studies if study.slices]
    if not good:
        return [f"no study can be used: {layout.IMAGES} must hold one folder for each, <StudyInstanceUID>/*.dcm"]
    slices = [study.slices for study in good]
    steps = [study.step_mm for study in good]
    extents = [study.extent_mm for study in good]
    directions = Counter(study.direction for study in good)
    sides = Counter("x".join(map(str, study.sides)) for study in good)
    syntaxes = Counter(study.transfer_syntax for study in good)
    lines = [
        f"{len(good)} of {len(report.studies)} studies can be used; {sum(slices)} slices in {report.files} files",
        f"a study has {min(slices)} to {max(slices)} slices (median {np.median(slices):.0f}); step {min(steps):.3g} to "
        f"{max(steps):.3g} mm (median {np.median(steps):.3g}); extent {min(extents):.0f} to {max(extents):.0f} mm "
        f"(median {np.median(extents):.0f})",
        f"z falls as the file number rises in {directions['falls']} studies, rises in {directions['rises']}, is mixed "
        f"in {directions['mixed']}; {sum(s.first_number != 1 for s in good)} do not start at number 1, "
        f"{sum(s.numbers_missing for s in good)} have gaps in the numbers",
        f"SliceThickness differs from the real step in {sum(s.thickness_differs for s in good)} studies; "
        f"{sum(s.tilted for s in good)} are tilted or oblique; {sum(s.irregular for s in good)} have irregular steps; "
        f"{sum(bool(s.notes) for s in good)} have notes",
        "sizes: " + ", ".join(f"{size} ({count})" for size, count in sides.most_common()),
        "transfer syntaxes: " + ", ".join(f"{name} ({count})" for name, count in syntaxes.most_common()),
        f"{sum(s.has_label for s in good)} label maps; {sum(s.lossy for s in good)} studies with lossy compression",
    ]
    if report.prevalence:
        lines.append(
            "fractures: " + ", ".join(f"{name} {100 * part:.1f} %" for name, part in report.prevalence.items())
        )
        one, two, more = (sum(report.broken_levels.get(n, 0) for n in group) for group in ((1,), (2,), range(3, 8)))
        lines.append(f"one fractured level in {one} studies, two in {two}, three or more in {more}")
    return lines
