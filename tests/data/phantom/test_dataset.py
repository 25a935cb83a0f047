from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from spine_models.data.phantom.dataset import generate_dataset, render_study
from spine_models.data.phantom.plan import plan_dataset
from spine_models.errors import UserError
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.canonical import digest_file
from tests.data.phantom.conftest import SEED, TINY, Tiny

SMALL = replace(TINY, studies=3, segmented=1, defective=1, matrix=32, slice_mm=8.0)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def digests(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): digest_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def slices(folder: Path) -> list[pydicom.Dataset]:
    """Read a study, superior slice first."""
    read = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    return sorted(read, key=lambda dataset: -float(dataset.ImagePositionPatient[2]))


def hounsfield(datasets: list[pydicom.Dataset]) -> NDArray[np.float64]:
    return np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in datasets])


def test_equal_bytes_for_equal_seeds_whatever_the_number_of_processes(tmp_path: Path) -> None:
    generate_dataset(tmp_path / "one", SMALL, 3)
    generate_dataset(tmp_path / "two", SMALL, 3, threads=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    before = digests(tmp_path / "one")
    generate_dataset(tmp_path / "one", SMALL, 4)
    assert not set(before) & {name for name in digests(tmp_path / "one") if name.endswith((".dcm", ".nii"))}


def test_the_layout_is_that_of_the_challenge(tiny: Tiny) -> None:
    train, test = tiny.of_split("train") + tiny.of_split("defective"), tiny.of_split("test")
    assert sorted(path.name for path in (tiny.root / "train_images").iterdir()) == sorted(train)
    assert sorted(path.name for path in (tiny.root / "test_images").iterdir()) == test
    labels = rows(tiny.root / "train.csv")
    assert list(labels[0]) == ["StudyInstanceUID", *TARGETS]
    assert sorted(row["StudyInstanceUID"] for row in labels) == sorted(train)
    for row in labels:
        assert int(row["patient_overall"]) == max(int(row[level]) for level in LEVELS)
    wanted = rows(tiny.root / "test.csv")
    assert {row["row_id"] for row in wanted} == {f"{study}_{target}" for study in test for target in TARGETS}
    assert [row["row_id"] for row in wanted] == [row["row_id"] for row in rows(tiny.root / "sample_submission.csv")]


def test_headers_carry_the_folder_as_study(tiny: Tiny) -> None:
    for study in tiny.of_split("train"):
        read = slices(tiny.root / "train_images" / study)
        assert {dataset.StudyInstanceUID for dataset in read} == {study}
        assert len({dataset.SOPInstanceUID for dataset in read}) == len(read) == tiny.summary["studies"][study]["files"]


def test_the_truth_table_agrees_with_the_labels(tiny: Tiny) -> None:
    truth = rows(tiny.root / "phantom.csv")
    labels = {row["StudyInstanceUID"]: row for row in rows(tiny.root / "train.csv")}
    assert len(truth) == 7 * len(tiny.summary["studies"])
    for row in truth:
        if row["split"] != "test":
            assert labels[row["StudyInstanceUID"]][row["level"]] == row["fractured"]
        assert bool(row["grade"]) == bool(row["kind"]) == (row["fractured"] == "1")
        assert row["visible"] == "1" or row["fractured"] == "0"
    hidden = {row["StudyInstanceUID"] for row in truth if row["visible"] == "0" and row["split"] == "train"}
    assert 0 < len(hidden) < len(tiny.of_split("train")) / 2


def test_label_maps_fit_the_volumes_by_affine_and_by_the_blind_fix(tiny: Tiny) -> None:
    plans = {plan.study: plan for plan in plan_dataset(TINY, SEED)}
    paths = sorted((tiny.root / "segmentations").iterdir())
    assert len(paths) == 3
    for path in paths:
        image = nibabel.load(path)
        array = np.asarray(image.dataobj)
        assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
        rendered, _ = render_study(TINY, plans[path.stem])
        assert np.array_equal(array[:, ::-1, ::-1].transpose(2, 1, 0), rendered.labels)
        first = slices(tiny.root / "train_images" / path.stem)[0]
        corner = image.affine @ np.array([0, array.shape[1] - 1, array.shape[2] - 1, 1.0])
        assert np.allclose(corner[:3] * (-1, -1, 1), first.ImagePositionPatient, atol=1e-3)
        bone = hounsfield(slices(tiny.root / "train_images" / path.stem))[rendered.labels > 0]
        assert bone.mean() > 250


def test_the_bead_lies_where_the_summary_says_in_patient_coordinates(tiny: Tiny) -> None:
    for study in tiny.of_split("train")[:4]:
        read = slices(tiny.root / "train_images" / study)
        hu = hounsfield(read)
        tissue = np.where(hu < 3000, hu, 0)  # without metal
        z, y, x = np.unravel_index(tissue.argmax(), hu.shape)
        origin, spacing = read[z].ImagePositionPatient, read[z].PixelSpacing
        found = (origin[0] + x * spacing[1], origin[1] + y * spacing[0], origin[2])
        assert np.allclose(found, tiny.summary["studies"][study]["marker"]["lps_mm"], atol=4.0)
        assert x > hu.shape[2] * 0.6
        assert y < hu.shape[1] * 0.4


def test_boxes_lie_on_files_that_exist_and_inside_the_picture(tiny: Tiny) -> None:
    boxes = rows(tiny.root / "train_bounding_boxes.csv")
    assert list(boxes[0]) == ["StudyInstanceUID", "x", "y", "width", "height", "slice_number"]
    fractured = {row["StudyInstanceUID"] for row in rows(tiny.root / "train.csv") if row["patient_overall"] == "1"}
    assert {row["StudyInstanceUID"] for row in boxes} == fractured
    usable = set(tiny.of_split("train"))
    for row in (row for row in boxes if row["StudyInstanceUID"] in usable):
        study = row["StudyInstanceUID"]
        assert (tiny.root / "train_images" / study / f"{row['slice_number']}.dcm").is_file()
        _, high, wide = tiny.summary["studies"][study]["shape"]
        assert 0 <= int(row["x"]) < int(row["x"]) + int(row["width"]) <= wide
        assert 0 <= int(row["y"]) < int(row["y"]) + int(row["height"]) <= high


def test_defective_studies_say_what_is_wrong_with_them(tiny: Tiny) -> None:
    kinds = {}
    for study in tiny.of_split("defective"):
        defect = tiny.summary["studies"][study]["defect"]
        kinds[defect["kind"]] = sorted((tiny.root / "train_images" / study).glob("*.dcm"))
    assert len(kinds) == 6
    assert len(kinds["one_slice"]) == 1
    assert kinds["empty"] == []
    assert "PixelData" not in pydicom.dcmread(kinds["no_pixels"][0])
    assert pydicom.dcmread(kinds["sagittal"][0]).ImageOrientationPatient == [0, 1, 0, 0, 0, -1]
    sizes = sorted(path.stat().st_size for path in kinds["truncated"])
    assert sizes[0] < 0.6 * sizes[1]
    numbers = sorted(int(path.stem) for path in kinds["gap"])
    assert numbers[-1] - numbers[0] + 1 > len(numbers) + 2


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="neither empty nor a phantom data set"):
        generate_dataset(tmp_path, SMALL, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_writers_end_with_their_parent(tmp_path):
    command = [sys.executable, "-m", "spine_models", "phantom", "--out", "new", "--studies", "200", "--threads", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    while not list(tmp_path.glob("new/train_images/*/*")):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    try:
        # They hold the other end of the pipe as long as they live.
        process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
