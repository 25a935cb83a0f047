"""Which stack of a study a label map was drawn on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from spine_models.data.dicom.study import StudySource, VolumeSettings, open_study
from spine_models.data.stages.label_stack import label_grid, stack_of
from tests.data.dicom_builder import write_stack

SETTINGS = VolumeSettings(z_step=1, half_size=4)
NECK, CHEST = "1.2.1", "1.2.2"
AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 1.0, 95], [0, 0, 0, 1]])
"""RAS, of the neck's slices from 100 mm down to 95 mm."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A neck of 6 slices, and below it a chest of 9 on the same lattice, which share two planes."""
    write_stack(tmp_path, count=6, SeriesInstanceUID=NECK)
    write_stack(tmp_path, count=9, start=(-10, -20, 96), name="c{}".format, SeriesInstanceUID=CHEST)
    return tmp_path


def label(folder: Path, affine: np.ndarray = AFFINE, shape: tuple[int, ...] = (5, 6, 6)) -> list[Path]:
    path = folder.parent / f"{folder.name}.nii"
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), affine), path)
    return [path]


def opened(folder: Path, paths: list[Path], settings: VolumeSettings = SETTINGS) -> StudySource:
    return open_study(folder, folder, settings, stack_of(label_grid(paths, folder.parent, settings)))


def series(source: StudySource) -> str:
    return source.grid.headers[0].series_uid


def test_without_a_label_map_most_slices_are_read(folder) -> None:
    source = opened(folder, [])
    assert series(source) == CHEST
    assert "6 files left out: other series, fewer slices" in source.selection.notes


def test_the_stack_that_the_label_map_was_drawn_on_is_read(folder) -> None:
    source = opened(folder, label(folder))
    assert series(source) == NECK
    assert source.grid.shape == (6, 6, 5)
    assert "9 files left out: other series, not the grid of the label map" in source.selection.notes


def test_a_label_map_of_a_part_of_the_neck_is_the_necks(folder) -> None:
    part = AFFINE.copy()
    part[2, 3] += 2
    assert series(opened(folder, label(folder, part, (5, 6, 4)))) == NECK


def test_a_stack_of_every_second_plane_is_not_preferred(tmp_path) -> None:
    write_stack(tmp_path, count=6, SeriesInstanceUID=NECK, SeriesNumber=2)
    write_stack(tmp_path, count=3, step=(0, 0, -2), name="c{}".format, SeriesInstanceUID=CHEST, SeriesNumber=1)
    assert series(opened(tmp_path, label(tmp_path))) == NECK


def test_where_no_stack_is_on_its_grid_most_slices_are_read(folder) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.25
    source = opened(folder, label(folder, shifted))
    assert series(source) == CHEST
    assert "6 files left out: other series, fewer slices" in source.selection.notes


def test_by_index_the_size_decides(folder) -> None:
    settings = replace(SETTINGS, label_geometry="index")
    assert series(opened(folder, label(folder, np.eye(4), (5, 6, 6)), settings)) == NECK
    assert series(opened(folder, label(folder, np.eye(4), (5, 6, 9)), settings)) == CHEST


def test_a_label_map_that_is_refused_chooses_nothing(folder) -> None:
    (path,) = label(folder)
    path.write_bytes(b"junk" * 99)
    assert label_grid([path], folder.parent, SETTINGS) is None
    elsewhere = folder / "inside"
    elsewhere.mkdir()
    label(folder)
    assert label_grid([path], elsewhere, SETTINGS) is None
    assert label_grid([path], elsewhere, replace(SETTINGS, allow_symlinks=True)) is not None
