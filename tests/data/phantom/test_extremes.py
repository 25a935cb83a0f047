"""Borders and metal: in their share of the studies, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spine_models.data.dicom.study import VolumeSettings, read_study
from spine_models.data.phantom.dataset import render_study, write_study
from spine_models.data.phantom.encoding import STYLES, outside_field
from spine_models.data.phantom.extremes import BORDERS_HU, METAL_HU, can_hold_borders
from spine_models.data.phantom.plan import StudyPlan, plan_dataset
from spine_models.data.phantom.settings import PhantomSettings

SETTINGS = PhantomSettings(studies=40, test_studies=8, defective=6, matrix=48, slice_mm=4.0)
CLEAN = replace(SETTINGS, border_share=0.0, metal_share=0.0)
EVERY = VolumeSettings(z_step=1, half_size=32)


def of_split(plans: list[StudyPlan], split: str) -> list[StudyPlan]:
    return [plan for plan in plans if plan.split == split]


def test_shares_are_met_in_each_split_and_defective_studies_have_none() -> None:
    plans = plan_dataset(SETTINGS, 1)
    for split, borders, metal in (("train", 10, 4), ("test", 2, 1), ("defective", 0, 0)):
        found = [plan.border_hu for plan in of_split(plans, split) if plan.border_hu is not None]
        assert sorted(found) == sorted(BORDERS_HU * (borders // 2))
        assert sum(plan.metal for plan in of_split(plans, split)) == metal
    assert [plan.border_hu for plan in plans] == [plan.border_hu for plan in plan_dataset(SETTINGS, 1)]
    assert [plan.border_hu for plan in plans] != [plan.border_hu for plan in plan_dataset(SETTINGS, 2)]


def test_patients_names_and_fractures_are_those_of_the_set_without() -> None:
    for plan, clean in zip(plan_dataset(SETTINGS, 1), plan_dataset(CLEAN, 1), strict=True):
        assert (clean.border_hu, clean.metal) == (None, False)
        style = replace(clean.encoding.style, padded=clean.encoding.style.padded and plan.border_hu is None)
        encoding = replace(clean.encoding, style=style)
        assert plan == replace(clean, border_hu=plan.border_hu, metal=plan.metal, encoding=encoding)


def test_only_styles_that_can_store_them_get_borders() -> None:
    assert [can_hold_borders(style) for style in STYLES] == [True, False, True, True, True]
    most = plan_dataset(replace(SETTINGS, border_share=1.0), 1)
    assert sum(plan.border_hu is not None for plan in of_split(most, "train")) == 32


def first(plans: list[StudyPlan], **wanted: object) -> StudyPlan:
    return next(plan for plan in plans if all(getattr(plan, name) == value for name, value in wanted.items()))


@pytest.mark.parametrize("border", BORDERS_HU)
def test_a_border_is_outside_the_circle_alone(border: int) -> None:
    plan = first(plan_dataset(SETTINGS, 1), border_hu=border, metal=False)
    rendered, _ = render_study(SETTINGS, plan)
    clean, _ = render_study(SETTINGS, replace(plan, border_hu=None))
    outside = np.broadcast_to(outside_field(*rendered.hu.shape[1:]), rendered.hu.shape)
    assert (rendered.hu[outside] == border).all()
    np.testing.assert_array_equal(rendered.hu[~outside], clean.hu[~outside])
    np.testing.assert_array_equal(rendered.labels, clean.labels)


def test_metal_is_a_rod_on_any_side_of_the_spine() -> None:
    most = replace(SETTINGS, metal_share=0.5)
    sides, heights = [], []
    for plan in [plan for plan in of_split(plan_dataset(most, 1), "train") if plan.metal]:
        rendered, patient = render_study(most, replace(plan, border_hu=None))
        clean, _ = render_study(most, replace(plan, border_hu=None, metal=False))
        metal = rendered.hu == METAL_HU
        np.testing.assert_array_equal(rendered.hu[~metal], clean.hu[~metal])
        np.testing.assert_array_equal(rendered.labels, clean.labels)
        assert (rendered.labels[metal] == 0).all()
        slices, rows, columns = np.nonzero(metal)
        _, y_mm, x_mm = rendered.grid.spacing_mm
        centre = rendered.grid.index_of(patient.frames["C4"].origin)
        sides.append([(rows.mean() - centre[1]) * y_mm, (columns.mean() - centre[2]) * x_mm])
        heights.append(len(np.unique(slices)) * rendered.grid.spacing_mm[0])
    assert len(sides) == 20
    # A pose turns C4 by some degrees, slices are 4 mm apart, and processes may hide a part of the rod.
    assert max(heights) == pytest.approx(40.0, abs=8.0)
    assert np.median(heights) == pytest.approx(40.0, abs=8.0)
    away = np.linalg.norm(sides, axis=1)
    assert 18.0 < away.min() < 28.0
    assert 34.0 < away.max() < 44.0
    assert {(back > 0, left > 0) for back, left in sides} == {(back, left) for back in (0, 1) for left in (0, 1)}


def test_metal_is_at_least_a_pixel_wide_in_the_coarsest_matrix() -> None:
    coarse = replace(SETTINGS, matrix=32, field_of_view_mm=500.0)
    rendered, _ = render_study(coarse, replace(plan_dataset(coarse, 1)[0], metal=True))
    assert (rendered.hu == METAL_HU).sum() >= 8


def test_files_hold_them_and_limits_take_them_away(tmp_path: Path) -> None:
    plan = replace(first(plan_dataset(SETTINGS, 1), border_hu=-3024), metal=True)
    write_study(tmp_path, SETTINGS, 1, plan)
    folder = tmp_path / "train_images" / plan.study
    raw = read_study(folder, EVERY)
    limited = read_study(folder, replace(EVERY, hu_limits=(-1024, 3071)))
    assert raw.full.min() == -3024
    assert raw.full.max() > 28_000
    assert raw.facts.std > 1.3 * limited.facts.std
    np.testing.assert_array_equal(limited.full, np.clip(raw.full, -1024, 3071))
