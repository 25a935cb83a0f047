"""A whole phantom data set in the layout of the challenge, and single studies without files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from spine_models.data.dataset.layout import BOXES_TABLE, IMAGES, SEGMENTATIONS, TEST_IMAGES, TEST_TABLE, TRAIN_TABLE
from spine_models.data.phantom.anatomy import Patient, draw_patient
from spine_models.data.phantom.canvas import Grid
from spine_models.data.phantom.defects import EXPECTED, damage_files
from spine_models.data.phantom.dicom_writing import AXIAL, SAGITTAL, Series, file_numbers, write_series
from spine_models.data.phantom.extremes import draw_border, draw_metal
from spine_models.data.phantom.fractures import draw_break
from spine_models.data.phantom.plan import StudyPlan, plan_dataset, uid_of
from spine_models.data.phantom.rendering import Rendered, marker_position, render
from spine_models.data.phantom.settings import PhantomSettings
from spine_models.errors import UserError
from spine_models.levels import LEVELS, TARGETS
from spine_models.processes import begin_pool_worker
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.files import write_json, write_text

SUMMARY = "phantom.json"
TRUTH_TABLE = "phantom.csv"
SUBMISSION = "sample_submission.csv"
_OWNED = ".phantom"
TABLES = (TRAIN_TABLE, BOXES_TABLE, TEST_TABLE, SUBMISSION, TRUTH_TABLE)


@dataclass(frozen=True)
class WrittenStudy:
    """What is known of a study once its files are there: rows of the tables, entry of the summary, digests of files."""

    plan: StudyPlan
    visible: dict[str, bool]
    boxes: list[tuple[int, int, int, int, int]]
    summary: dict[str, Any]
    files: dict[str, str]


def generate_dataset(out: Path, settings: PhantomSettings, seed: int, threads: int = 1) -> dict[str, Any]:
    """Write a data set; ``phantom.json`` comes last, so that its presence means that all is there.

    Files: ``train_images/<study>/<number>.dcm``, ``segmentations/<study>.nii``, ``train.csv``,
    ``train_bounding_boxes.csv``, ``test_images/``, ``test.csv``, ``sample_submission.csv``, and the truth in
    ``phantom.csv`` (one row a study and level) and ``phantom.json``. Equal settings and seeds give equal bytes,
    whatever ``threads`` is.

    Args:
        out: folder; it must be new, empty or an earlier phantom data set, which is replaced.
        settings: what to make.
        seed: seed of everything random.
        threads: processes that write studies.

    Returns:
        the content of ``phantom.json``.

    Raises:
        UserError: if the settings are impossible or ``out`` holds something else.
    """
    settings = settings.checked()
    _prepare(out)
    plans = plan_dataset(settings, seed)
    write = partial(write_study, out, settings, seed)
    studies = sorted(_map(write, plans, threads), key=lambda study: study.plan.seed)
    for name, lines in _tables(studies).items():
        write_text(out / name, "\n".join(lines) + "\n")
    digests = {name: digest_file(out / name) for name in TABLES}
    for study in studies:
        digests |= study.files
    summary = {
        "settings": settings.as_json(),
        "seed": seed,
        "digest": digest_json(digests),
        "studies": {study.plan.study: study.summary for study in studies},
    }
    write_json(out / SUMMARY, summary)
    return summary


def render_study(settings: PhantomSettings, plan: StudyPlan) -> tuple[Rendered, Patient]:
    """Draw one study without writing it.

    Returns:
        HU and labels (z, y, x), superior first, with their grid; and the patient they show.
    """
    rng = np.random.default_rng([*plan.seed, 0])
    patient = draw_patient(rng)
    grid = _grid(rng, settings, plan, patient)
    breaks = {
        fracture.level: draw_break(rng, fracture, patient.sizes[fracture.level], settings.grades.of(fracture.grade))
        for fracture in plan.fractures
    }
    noise = float(rng.uniform(10.0, 26.0))
    rendered = render(patient, grid, breaks, noise_hu=noise, seed=[*plan.seed, 1], marker=settings.marker)
    if plan.metal:
        draw_metal(rendered.hu, rendered.labels, grid, patient, [*plan.seed, 3])
    if plan.border_hu is not None:
        draw_border(rendered.hu, plan.border_hu)
    return rendered, patient


def write_study(out: Path, settings: PhantomSettings, seed: int, plan: StudyPlan) -> WrittenStudy:
    """Draw and write one study: its DICOM files and, where planned, its label map."""
    rendered, patient = render_study(settings, plan)
    folder = out / (TEST_IMAGES if plan.split == "test" else IMAGES) / plan.study
    paths = write_series(folder, _series(settings, seed, plan, rendered))
    if plan.defect:
        damage_files(plan.defect, paths)
    written = [path for path in paths if path.exists()]
    if plan.segmented:
        written.append(out / SEGMENTATIONS / f"{plan.study}.nii")
        write_label_map(written[-1], rendered)
    numbers = file_numbers(rendered.grid.shape[0], plan.encoding)
    boxes = [(x0, y0, x1 - x0, y1 - y0, numbers[z]) for z, (x0, y0, x1, y1) in sorted(rendered.boxes.items())]
    files = {str(path.relative_to(out)): digest_file(path) for path in written}
    return WrittenStudy(
        plan, _visible(patient, rendered.grid), boxes, _summary(settings, plan, rendered, patient, len(paths)), files
    )


def write_label_map(path: Path, rendered: Rendered) -> None:
    """Write the labels as NIfTI with the challenge's axes.

    The array is (x to the left, y to the front, z upwards), its affine says so, and
    ``array[:, ::-1, ::-1].transpose(2, 1, 0)`` is the volume (z, y, x), superior first.
    """
    grid = rendered.grid
    array = np.ascontiguousarray(rendered.labels.transpose(2, 1, 0)[:, ::-1, ::-1])
    z_mm, y_mm, x_mm = grid.spacing_mm
    affine = np.diag([-x_mm, y_mm, z_mm, 1.0])
    last_y = grid.first[1] + y_mm * (grid.shape[1] - 1)
    affine[:3, 3] = (-grid.first[0], -last_y, grid.first[2] - z_mm * (grid.shape[0] - 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)  # type: ignore[no-untyped-call]


def _prepare(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / _OWNED).is_file():
        raise UserError(f"{out} is neither empty nor a phantom data set: choose a new folder, or empty it")
    out.mkdir(parents=True, exist_ok=True)
    (out / SUMMARY).unlink(missing_ok=True)
    (out / _OWNED).touch()
    for folder in (IMAGES, TEST_IMAGES, SEGMENTATIONS):
        shutil.rmtree(out / folder, ignore_errors=True)
    (out / IMAGES).mkdir()
    (out / TEST_IMAGES).mkdir()
    (out / SEGMENTATIONS).mkdir()


def _map(write: partial[WrittenStudy], plans: list[StudyPlan], threads: int) -> Iterator[WrittenStudy]:
    if threads <= 1:
        yield from map(write, plans)
        return
    with ProcessPoolExecutor(min(threads, len(plans)), get_context("spawn"), begin_pool_worker) as pool:
        yield from pool.map(write, plans)


def _grid(rng: np.random.Generator, settings: PhantomSettings, plan: StudyPlan, patient: Patient) -> Grid:
    """Place the slices: complete levels plus what else the study happens to show, the spine near the middle."""
    step = round(settings.slice_mm * float(rng.choice([0.9, 1.0, 1.0, 1.1])), 4)
    field = settings.field_of_view_mm * float(rng.uniform(0.95, 1.1))
    pixel = round(field / settings.matrix, 6)
    columns = settings.matrix + plan.encoding.extra_columns
    top = _top(patient, plan.top, float(rng.uniform(0, 1)))
    bottom = _bottom(patient, plan.bottom, float(rng.uniform(0, 1)))
    centre = patient.frames["C4"].world((0.0, 9.0, 0.0)) + rng.uniform((-5, -4, 0), (5, 4, 0))
    x = round(float(centre[0]) - pixel * (columns - 1) / 2, 4)
    y = round(float(centre[1]) - pixel * (settings.matrix - 1) / 2, 4)
    slices = int((top - bottom) / step) + 1
    return Grid((slices, settings.matrix, columns), (step, pixel, pixel), (x, y, round(top, 4)))


def _top(patient: Patient, level: str, extra: float) -> float:
    offsets = {"C1": (24.0, 22.0), "C2": (28.0, 2.0)}
    base, spread = offsets.get(level, (15.0, 2.0))
    return float(patient.frames[level].origin[2]) + patient.scale * (base + spread * extra)


def _bottom(patient: Patient, level: str, extra: float) -> float:
    base, spread = {"C7": (28.0, 26.0)}.get(level, (19.0, 2.0))
    return float(patient.frames[level].origin[2]) - patient.scale * (base + spread * extra)


def _visible(patient: Patient, grid: Grid) -> dict[str, bool]:
    """Say of each level whether the centre of its body (C1: of its ring) is within the slices."""
    heights = grid.heights()
    return {level: bool(heights[-1] <= patient.frames[level].origin[2] <= heights[0]) for level in LEVELS}


def _series(settings: PhantomSettings, seed: int, plan: StudyPlan, rendered: Rendered) -> Series:
    uids = (uid_of(seed, settings, plan.split, plan.index, what) for what in ("series", "frame"))
    series, frame = uids
    patient = f"{plan.split.upper()}-{plan.index + 1:04d}"
    grid = rendered.grid
    (x0, y0, _), (z_mm, y_mm, x_mm) = grid.first, grid.spacing_mm
    if plan.defect == "sagittal":
        positions = [(x0 + place * x_mm, y0, grid.first[2]) for place in range(grid.shape[2])]
        hu = np.ascontiguousarray(rendered.hu.transpose(2, 0, 1))
        return Series(plan.study, series, frame, patient, hu, positions, SAGITTAL, (z_mm, y_mm), x_mm, plan.encoding)
    positions = [(x0, y0, float(z)) for z in grid.heights()]
    pixels = plan.defect != "no_pixels"
    return Series(
        plan.study, series, frame, patient, rendered.hu, positions, AXIAL, (y_mm, x_mm), z_mm, plan.encoding, pixels
    )


def _summary(
    settings: PhantomSettings, plan: StudyPlan, rendered: Rendered, patient: Patient, files: int
) -> dict[str, Any]:
    grid = rendered.grid
    summary: dict[str, Any] = {
        "split": plan.split,
        "files": files,
        "shape": list(grid.shape),
        "spacing_mm": list(grid.spacing_mm),
        "affine_lps": grid.affine_lps().tolist(),
        "segmented": plan.segmented,
        "encoding": asdict(plan.encoding),
        "border_hu": plan.border_hu,
        "metal": plan.metal,
        "fractures": [asdict(fracture) for fracture in plan.fractures],
    }
    if plan.defect:
        summary["defect"] = {"kind": plan.defect, "expected_code": EXPECTED[plan.defect].value}
    if settings.marker:
        centre = marker_position(patient)
        summary["marker"] = {
            "lps_mm": [round(float(value), 3) for value in centre],
            "index_zyx": [round(value, 3) for value in grid.index_of(centre)],
        }
    return summary


def _tables(studies: list[WrittenStudy]) -> dict[str, list[str]]:
    train = [study for study in studies if study.plan.split != "test"]
    test = [study for study in studies if study.plan.split == "test"]
    rows = [(study.plan.study, target) for study in test for target in (*LEVELS, TARGETS[0])]
    boxes = [f"{study.plan.study},{','.join(map(str, box))}" for study in train for box in study.boxes]
    return {
        TRAIN_TABLE: ["StudyInstanceUID," + ",".join(TARGETS), *(_train_row(study.plan) for study in train)],
        BOXES_TABLE: ["StudyInstanceUID,x,y,width,height,slice_number", *boxes],
        TEST_TABLE: [
            "row_id,StudyInstanceUID,prediction_type",
            *(f"{study}_{target},{study},{target}" for study, target in rows),
        ],
        SUBMISSION: ["row_id,fractured", *(f"{study}_{target},0.5" for study, target in rows)],
        TRUTH_TABLE: ["StudyInstanceUID,split,level,visible,fractured,grade,kind", *_truth_rows(studies)],
    }


def _train_row(plan: StudyPlan) -> str:
    broken = {fracture.level for fracture in plan.fractures}
    flags = [int(bool(broken)), *(int(level in broken) for level in LEVELS)]
    return ",".join([plan.study, *map(str, flags)])


def _truth_rows(studies: Iterable[WrittenStudy]) -> Iterator[str]:
    for study in studies:
        broken = {fracture.level: fracture for fracture in study.plan.fractures}
        for level in LEVELS:
            fracture = broken.get(level)
            facts = f"1,{fracture.grade},{fracture.kind}" if fracture else "0,,"
            yield f"{study.plan.study},{study.plan.split},{level},{int(study.visible[level])},{facts}"
