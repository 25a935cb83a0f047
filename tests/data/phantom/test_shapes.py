from __future__ import annotations

import numpy as np
import pytest

from spine_models.data.phantom.shapes import Point, box, capsule, ellipse, ellipsoid, mirrored, union, without


def points(*rows: tuple[float, float, float]) -> Point:
    x, y, z = np.array(rows, np.float32).T
    return x, y, z


def test_sphere_has_exact_distances() -> None:
    place = points((5, 0, 0), (1, 0, 0), (1, 2, 6))
    assert ellipsoid(place, (1, 0, 0), (2, 2, 2)) == pytest.approx([2, -2, np.sqrt(40) - 2], abs=1e-3)


def test_ellipsoid_surface_is_where_its_half_axes_end() -> None:
    place = points((3, 0, 0), (0, 5, 0), (0, 0, 7))
    assert ellipsoid(place, (0, 0, 0), (3, 5, 7)) == pytest.approx([0, 0, 0], abs=1e-4)


def test_ellipse_is_zero_on_its_wall_and_negative_inside() -> None:
    across, along = np.array([4.0, 0.0, 0.0, 8.0], np.float32), np.array([0.0, 2.0, 0.0, 0.0], np.float32)
    assert ellipse(across, along, 4.0, 2.0) == pytest.approx([0, 0, -2, 4], abs=1e-4)


def test_capsule_measures_from_its_axis_and_its_ends() -> None:
    place = points((0, 3, 5), (0, 0, 13), (0, 0, 5))
    assert capsule(place, (0, 0, 0), (0, 0, 10), 1.0) == pytest.approx([2, 2, -1])


def test_capsule_tapers_and_stands_tall() -> None:
    assert capsule(points((0, 4, 10)), (0, 0, 0), (0, 0, 10), 1.0, 3.0) == pytest.approx([1])
    assert capsule(points((5, 0, 4)), (0, 0, 0), (10, 0, 0), 2.0, tall=2.0) == pytest.approx([0])


def test_box_measures_to_its_faces_and_rounded_edges() -> None:
    place = points((4, 0, 0), (0, 0, 0), (2 + 3, 2 + 4, 0))
    assert box(place, (0, 0, 0), (3, 3, 3), 1.0) == pytest.approx([1, -3, 4])


def test_union_holds_both_and_rounds_only_the_seam() -> None:
    first, second = np.array([-1.0, 9.0, 0.0], np.float32), np.array([9.0, -2.0, 0.0], np.float32)
    assert union(first, second, 2.0) == pytest.approx([-1, -2, -0.5])


def test_without_cuts_the_hole() -> None:
    shape, hole = np.array([-3.0, -3.0], np.float32), np.array([-1.0, 5.0], np.float32)
    assert without(shape, hole) == pytest.approx([1, -3])


def test_mirrored_folds_the_right_onto_the_left() -> None:
    assert mirrored(points((-3, 1, 2)))[0] == pytest.approx([3])
