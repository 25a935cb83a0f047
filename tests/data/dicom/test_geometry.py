"""The grid of a stack, from headers only: every value follows from positions, orientations and spacing by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from spine_models.data.dataset.layout import StudyFile
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dicom.geometry import (
    MAX_GAP_MM,
    InPlane,
    build_grid,
    directions,
    geometry_problem,
    heights,
    is_axial,
    is_curved,
    lies_regularly,
)
from spine_models.data.dicom.headers import SliceHeader, read_headers
from tests.data.dicom_builder import encoded, make_slice

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS = 6, 4
MISSING = "no readable ImagePositionPatient or ImageOrientationPatient"
FAR = "ImagePositionPatient lies further out than 100 m"
NOT_UNIT = "ImageOrientationPatient is not a pair of perpendicular unit vectors"
SPACING = (0.5, 0.25)
"""Between rows and between columns, mm: four numbers that differ, so that none can stand for another."""


@pytest.fixture(scope="module")
def header(tmp_path_factory) -> SliceHeader:
    folder = tmp_path_factory.mktemp("slice")
    data = encoded(make_slice(np.zeros((ROWS, COLUMNS), "<i2")))
    (folder / "1.dcm").write_bytes(data)
    return dataclasses.replace(read_headers(folder, StudyFile("1.dcm", len(data), 0))[0], spacing=SPACING)


def stack(
    header: SliceHeader,
    points: Sequence[Sequence[float]],
    orientation: Sequence[float] = AXIAL,
    instances: Sequence[int | None] | None = None,
) -> list[SliceHeader]:
    numbers = instances or [None] * len(points)
    return [
        dataclasses.replace(header, position=tuple(map(float, point)), orientation=tuple(orientation), instance=number)
        for point, number in zip(points, numbers, strict=True)
    ]


def column(*z: float, x: float = -7.0, y: float = 11.0) -> list[tuple[float, float, float]]:
    return [(x, y, height) for height in z]


def turned(degrees: float) -> tuple[float, ...]:
    """Orientation turned about the patient's left-right axis, as a gantry is."""
    angle = np.radians(degrees)
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))


def refused(headers: Sequence[SliceHeader]) -> StudyRefused:
    with pytest.raises(StudyRefused) as caught:
        build_grid(headers)
    return caught.value


def test_an_upright_stack_gives_the_grid_that_one_would_write_down(header) -> None:
    grid = build_grid(stack(header, column(10, 14, 12)))
    assert [one.position[2] for one in grid.headers] == [14, 12, 10]
    assert grid.shape == (3, ROWS, COLUMNS)
    assert np.allclose(grid.affine, [[0, 0, 0.25, -7], [0, 0.5, 0, 11], [-2, 0, 0, 14], [0, 0, 0, 1]], atol=1e-12)
    assert grid.spacing == pytest.approx((2.0, 0.5, 0.25))
    assert [(one.upper, one.lower, one.weight) for one in grid.slices] == [(i, i, 0.0) for i in range(3)]
    assert grid.coordinates.tolist() == [0, 1, 2]
    assert (grid.tilt_degrees, grid.oblique_degrees, grid.notes) == (0.0, 0.0, [])
    assert grid.in_plane == InPlane(False, False, False)
    assert np.allclose(grid.stored_affine, grid.affine, atol=1e-12)


@pytest.mark.parametrize(
    ("orientation", "in_plane"),
    [
        ((1, 0, 0, 0, 1, 0), InPlane(False, False, False)),
        ((-1, 0, 0, 0, 1, 0), InPlane(False, False, True)),
        ((1, 0, 0, 0, -1, 0), InPlane(False, True, False)),
        ((-1, 0, 0, 0, -1, 0), InPlane(False, True, True)),
        ((0, 1, 0, 1, 0, 0), InPlane(True, False, False)),
        ((0, -1, 0, 1, 0, 0), InPlane(True, True, False)),
        ((0, 1, 0, -1, 0, 0), InPlane(True, False, True)),
        ((0, -1, 0, -1, 0, 0), InPlane(True, True, True)),
    ],
)
def test_every_way_in_which_a_slice_can_be_stored_is_turned_to_the_same_axes(header, orientation, in_plane) -> None:
    grid = build_grid(stack(header, column(3, 2, 1), orientation))
    assert grid.in_plane == in_plane
    y_size, x_size = (COLUMNS, ROWS) if in_plane.transposed else (ROWS, COLUMNS)
    y_mm, x_mm = (0.25, 0.5) if in_plane.transposed else (0.5, 0.25)
    assert grid.shape == (3, y_size, x_size)
    corner = (-7 - (x_size - 1) * x_mm * in_plane.flip_x, 11 - (y_size - 1) * y_mm * in_plane.flip_y, 3)
    expected = [[0, 0, x_mm, corner[0]], [0, y_mm, 0, corner[1]], [-1, 0, 0, corner[2]], [0, 0, 0, 1]]
    assert np.allclose(grid.affine, expected, atol=1e-12)
    row, down = np.array(orientation[:3]), np.array(orientation[3:])
    for at in ((0, 0, 0), (2, 5, 3), (1, 2, 1)):
        place = np.array([-7, 11, 3 - at[0]]) + at[1] * 0.5 * down + at[2] * 0.25 * row
        assert np.allclose(grid.stored_affine @ [*at, 1], [*place, 1], atol=1e-12)
    pixels = np.arange(ROWS * COLUMNS, dtype=np.int16).reshape(ROWS, COLUMNS)
    assert in_plane.apply(pixels).shape == (y_size, x_size)
    assert np.array_equal(in_plane.undo(in_plane.apply(pixels).astype(np.uint8)), pixels.astype(np.uint8))


@pytest.mark.parametrize("degrees", [-30.0, -12.0, 0.06, 12.0, 30.0])
def test_a_tilted_gantry_shears_the_stack_and_keeps_its_sign(header, degrees) -> None:
    grid = build_grid(stack(header, column(6, 4, 2, 0), turned(degrees)))
    # The normal leans to the front by the same angle: seen along it, slices that go straight down shift to the front.
    assert grid.tilt_degrees == pytest.approx(-degrees, abs=1e-6)
    assert grid.oblique_degrees == pytest.approx(abs(degrees), abs=1e-6)
    assert grid.spacing[0] == pytest.approx(2 * np.cos(np.radians(degrees)))
    assert np.allclose(grid.affine[:3, 0], [0, 0, -2], atol=1e-12)


def test_a_shear_below_a_twentieth_of_a_degree_is_none(header) -> None:
    assert build_grid(stack(header, column(6, 4, 2, 0), turned(0.04))).tilt_degrees == 0.0
    assert build_grid(stack(header, column(6, 4, 2, 0), turned(0.8))).tilt_degrees == pytest.approx(-0.8, abs=1e-6)


def test_a_stack_whose_slices_go_along_their_tilted_normal_is_oblique_but_not_sheared(header) -> None:
    orientation = turned(20)
    normal = np.cross(orientation[:3], orientation[3:])
    grid = build_grid(stack(header, [tuple(-2 * i * normal) for i in range(4)], orientation))
    assert grid.tilt_degrees == 0.0
    assert grid.oblique_degrees == pytest.approx(20)
    assert grid.spacing == pytest.approx((2.0, 0.5, 0.25))
    assert np.allclose(grid.affine[:3, 0], -2 * normal, atol=1e-12)


def test_a_head_that_is_turned_in_the_plane_is_upright_whatever_the_rounding(header) -> None:
    """The normal's length is cos^2 + sin^2, which for some angles is the number above 1."""
    lengths = []
    for degrees in range(1, 45):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        headers = stack(header, column(2, 1, 0), (cos, sin, 0.0, -sin, cos, 0.0))
        lengths.append(directions(headers)[2][2])
        grid = build_grid(headers)
        assert grid.oblique_degrees == pytest.approx(0, abs=1e-5)
        assert grid.tilt_degrees == 0
    assert max(lengths) > 1


def test_a_sheared_stack_is_refused_from_fifty_degrees_on(header) -> None:
    def sheared(degrees: float, count: int) -> list[SliceHeader]:
        shift = np.tan(np.radians(degrees))
        return stack(header, [(0, 2 * i * shift, -2 * i) for i in range(count)])

    assert build_grid(sheared(49.9, 2)).tilt_degrees == pytest.approx(49.9)
    for count in (2, 4):
        refusal = refused(sheared(50.1, count))
        assert refusal.code == RefusalCode.GEOMETRY_INVALID
        assert refusal.reason == "the slices follow each other sideways, not along their normal"


def test_two_slices_are_the_fewest(header) -> None:
    refusal = refused(stack(header, column(1)))
    assert refusal.code == RefusalCode.TOO_FEW_SLICES
    assert refusal.reason == "one slice is not a volume"
    assert build_grid(stack(header, column(1, 0))).shape[0] == 2


def test_slices_at_one_position_are_refused(header) -> None:
    refusal = refused(stack(header, column(0.0099, 0)))
    assert refusal.code == RefusalCode.GEOMETRY_INVALID
    assert refusal.reason == "the slices are at the same position"
    assert build_grid(stack(header, column(0.0101, 0))).shape[0] == 2


@pytest.mark.parametrize(("step", "widest"), [(1.0, MAX_GAP_MM), (4.0, 8.4)])
def test_the_widest_gap_that_is_bridged(header, step, widest) -> None:
    def with_gap(gap: float) -> list[SliceHeader]:
        return stack(header, column(0, -step, -step - gap, -2 * step - gap, -3 * step - gap))

    planes = round(3 + widest / step) + 1
    assert build_grid(with_gap(widest - 1e-6)).shape[0] == planes
    refusal = refused(with_gap(widest + 0.01))
    assert refusal.code == RefusalCode.SLICES_MISSING
    assert f"a gap of {widest + 0.01:.1f} mm between slices that are {step:.2f} mm apart" in str(refusal)


@pytest.mark.parametrize(
    ("before", "after", "planned"),
    [(7, 8, True), (8, 7, True), (7, 9, False), (None, 8, False), (7, None, False), (-7, 6, False), (7, 7, False)],
)
def test_a_wide_gap_is_called_missing_only_where_the_numbers_have_one(header, before, after, planned) -> None:
    refusal = refused(stack(header, column(0, -1, -9, -10, -11), instances=[20, before, after, 30, 40]))
    assert refusal.code == (RefusalCode.STEPS_TOO_WIDE if planned else RefusalCode.SLICES_MISSING)
    sentence = (
        "steps of up to 8.0 mm in a stack with steps of 1.00 mm, and the instance numbers have no gap there: the scan "
        "was planned so; export a series with even, thinner steps"
        if planned
        else "a gap of 8.0 mm between slices that are 1.00 mm apart: find the missing files"
    )
    assert sentence in str(refusal)


def test_a_lost_slice_is_interpolated_between_its_neighbours(header) -> None:
    grid = build_grid(stack(header, column(0, -1, -3, -4, -5)))
    assert grid.shape[0] == 6
    assert [(one.upper, one.lower, one.weight) for one in grid.slices] == [
        (0, 0, 0.0),
        (1, 1, 0.0),
        (1, 2, 0.5),
        (2, 2, 0.0),
        (3, 3, 0.0),
        (4, 4, 0.0),
    ]
    assert grid.notes == ["1 planes without a slice of their own interpolated between their neighbours"]


def test_a_slice_off_the_grid_by_less_than_a_tenth_of_a_step_is_taken_as_it_is(header) -> None:
    grid = build_grid(stack(header, column(0, -1, -2.06, -3, -4)))
    assert [(one.upper, one.lower) for one in grid.slices] == [(i, i) for i in range(5)]
    assert grid.notes == []


def test_a_tenth_of_a_step_is_a_part_and_not_a_length(header) -> None:
    grid = build_grid(stack(header, column(0, -4, -8.3, -12, -16)))
    assert [(one.upper, one.lower) for one in grid.slices] == [(i, i) for i in range(5)]
    assert grid.notes == ["slice positions leave a straight line by up to 0.24 mm"]


def test_a_slice_beside_the_stack_is_left_out_with_a_note(header) -> None:
    points = [(0.0, 3.0 * (i == 7), -i) for i in range(20)]
    grid = build_grid(stack(header, points))
    assert len(grid.headers) == 19
    assert "1 slices left out: they lie beside the line through the others" in grid.notes
    assert np.allclose(grid.affine[:3, 0], [0, 0, -1], atol=1e-12)


def test_irregular_steps_are_interpolated_to_the_median_step(header) -> None:
    z = (0.0, -1.0, -2.4, -3.4, -4.4)
    grid = build_grid(stack(header, column(*z)))
    assert grid.notes[0] == "irregular steps (1.000 to 1.400 mm): interpolated to steps of 1.000 mm"
    assert grid.coordinates == pytest.approx([-height for height in z])
    assert [(one.upper, one.lower, round(one.weight, 6)) for one in grid.slices] == [
        (0, 0, 0.0),
        (1, 1, 0.0),
        (1, 2, round(1 / 1.4, 6)),
        (2, 3, 0.6),
        (3, 4, 0.6),
    ]
    assert np.allclose(grid.affine[:3, 0], [0, 0, -1])


def test_coordinates_of_irregular_stacks_are_in_steps_not_in_mm(header) -> None:
    grid = build_grid(stack(header, column(0, -2, -4.8, -6.8, -8.8)))
    assert grid.coordinates == pytest.approx([0, 1, 2.4, 3.4, 4.4])
    assert grid.shape[0] == 5


def test_positions_off_a_straight_line_are_noted_from_half_a_pixel_on(header) -> None:
    def bent(by: float) -> list[SliceHeader]:
        # The line of least squares takes up two fifths of the middle one's shift: (0, 0, s, 0, 0) has the mean s / 5.
        return stack(header, [(by * (i == 2), 0, -i) for i in range(5)])

    pixel = min(SPACING)
    assert build_grid(bent(0.49 * pixel / 0.8)).notes == []
    assert build_grid(bent(0.52 * pixel / 0.8)).notes == ["slice positions leave a straight line by up to 0.13 mm"]


def test_the_affine_is_the_line_of_least_squares_through_all_positions(header) -> None:
    grid = build_grid(stack(header, [(0, 0, 0), (0.1, 0, -1), (0, 0, -2)]))
    assert np.allclose(grid.affine[:3, 0], [0, 0, -1], atol=1e-12)
    assert np.allclose(grid.affine[:3, 3], [0.1 / 3, 0, 0], atol=1e-12)


def test_a_curved_reformat_is_measured_along_its_path(header) -> None:
    radius, angles = 50.0, np.radians([0.0, 2.0, 4.0, 6.0, 8.0])
    headers = []
    for angle in angles:
        turn = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
        place = (0.0, float(radius * (1 - np.cos(angle))), float(-radius * np.sin(angle)))
        headers.append(dataclasses.replace(header, position=place, orientation=turn, instance=None))
    assert is_curved(headers)
    grid = build_grid(headers)
    chord = 2 * radius * np.sin(np.radians(1.0))
    step = grid.affine[:3, 0]
    assert grid.spacing[0] == pytest.approx(np.linalg.norm(step))
    assert grid.spacing[0] == pytest.approx(chord, rel=0.01)
    assert grid.coordinates.tolist() == [0, 1, 2, 3, 4]
    assert grid.notes[0] == (
        "orientation changes from slice to slice (curved reformat): the affine is that of the mean plane"
    )


def test_a_curve_of_sixty_degrees_is_regular_along_its_path_and_not_along_its_mean_normal(header) -> None:
    radius, angles = 20.0, np.linspace(0.0, np.pi / 3, 22)
    headers = []
    for angle in angles:
        turn = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
        place = (0.0, float(radius * (1 - np.cos(angle))), float(-radius * np.sin(angle)))
        headers.append(dataclasses.replace(header, position=place, orientation=turn, instance=None))
    grid = build_grid(headers)
    assert grid.coordinates.tolist() == list(range(22))
    assert all(one.weight == 0 for one in grid.slices)
    assert not any("irregular" in note for note in grid.notes)


def test_steps_of_a_curved_stack_are_those_of_its_path(header) -> None:
    """Slices that turn by 20 degrees on a straight way: 2 mm apart, though 2 cos 10 along their mean normal."""
    headers = [
        dataclasses.replace(one, orientation=turned(degrees))
        for one, degrees in zip(stack(header, column(*range(8, -1, -2))), range(0, 21, 5), strict=True)
    ]
    assert build_grid(headers).spacing[0] == pytest.approx(2.0)


def test_gaps_of_a_tilted_stack_are_measured_along_its_normal(header) -> None:
    """5.5 mm on the way down are 5.5 cos 30 = 4.8 mm between the slices: bridged; 6.6 mm are 5.7 mm: not."""

    def with_gap(way: float) -> list[SliceHeader]:
        return stack(header, column(0, -1.1, -1.1 - way, -2.2 - way, -3.3 - way), turned(30))

    grid = build_grid(with_gap(5.5))
    assert grid.shape[0] == 9
    assert grid.spacing[0] == pytest.approx(1.1 * np.cos(np.radians(30)))
    assert refused(with_gap(6.6)).reason.startswith("a gap of 5.7 mm between slices that are 0.95 mm apart")


def test_one_slice_within_half_a_millimetre_of_the_line_shears_no_stack(header) -> None:
    """From the first to the second slice it is 56 degrees, from the first to the last 3."""
    grid = build_grid(stack(header, [(0.45 * (i == 0), 0, -0.3 * i) for i in range(30)]))
    assert grid.shape[0] == 30


def test_orientations_that_differ_by_rounding_are_no_curve(header) -> None:
    headers = stack(header, column(2, 1, 0))
    headers[1] = dataclasses.replace(headers[1], orientation=(1.0, 0.009, 0.0, 0.0, 1.0, 0.0))
    assert not is_curved(headers)
    headers[1] = dataclasses.replace(headers[1], orientation=(1.0, 0.011, 0.0, 0.0, 1.0, 0.0))
    assert is_curved(headers)
    # From the first to the last, not to one between them.
    turns = [dataclasses.replace(headers[0], orientation=(1.0, by, 0.0, 0.0, 1.0, 0.0)) for by in (-0.006, 0.0, 0.006)]
    assert is_curved(turns)


def test_heights_grow_towards_the_head_whatever_the_order_of_the_axes(header) -> None:
    for orientation in (AXIAL, (1, 0, 0, 0, -1, 0)):
        assert heights(stack(header, column(5, -3), orientation)).tolist() == [5, -3]


def test_directions_are_perpendicular_unit_vectors_of_the_mean(header) -> None:
    skewed = (1.0, 0.0, 0.0, 0.006, 0.999, 0.0)
    row, down, normal = directions(stack(header, column(1, 0), skewed))
    assert row.tolist() == [1, 0, 0]
    assert down == pytest.approx([0, 1, 0])
    assert normal == pytest.approx([0, 0, 1])


def test_directions_are_unit_vectors_where_the_header_rounds_them(header) -> None:
    row, down, normal = directions(stack(header, column(1, 0), (0.995, 0.0, 0.0, 0.0, 0.996, 0.0)))
    assert (row.tolist(), down.tolist(), normal.tolist()) == ([1, 0, 0], [0, 1, 0], [0, 0, 1])


def test_axial_is_within_45_degrees_of_the_long_axis(header) -> None:
    assert is_axial(stack(header, column(1, 0), turned(44.9)))
    assert not is_axial(stack(header, column(1, 0), turned(45.1)))


@pytest.mark.parametrize(
    ("z", "regular"),
    [
        ((0, -1), True),
        ((0, -7, -8), False),
        ((0, -1, -2, -3), True),
        ((0, -1, -2, -4, -5), True),  # five of six
        ((0, -1, -2, -4), True),  # four of five: just enough
        ((0, -1, -2, -5, -6, -7), False),  # six of eight
        ((0, -1, -2.4, -3.4), False),
        ((0, 0, 0, -1), False),
    ],
)
def test_a_regular_stack_fills_most_of_its_grid(header, z, regular) -> None:
    assert bool(lies_regularly(stack(header, column(*z)))) is regular


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (
            {"position": None},
            RefusalCode.GEOMETRY_MISSING,
            MISSING,
        ),
        (
            {"orientation": None},
            RefusalCode.GEOMETRY_MISSING,
            MISSING,
        ),
        ({"spacing": None}, RefusalCode.SPACING_INVALID, "PixelSpacing is missing, zero or not a number"),
        ({"spacing": (0.0, 1.0)}, RefusalCode.SPACING_INVALID, "PixelSpacing is missing, zero or not a number"),
        ({"spacing": (1.0, -1.0)}, RefusalCode.SPACING_INVALID, "PixelSpacing is missing, zero or not a number"),
        ({"spacing": (0.0099, 1.0)}, RefusalCode.SPACING_INVALID, "PixelSpacing is outside 0.01 to 10 mm"),
        ({"spacing": (1.0, 10.1)}, RefusalCode.SPACING_INVALID, "PixelSpacing is outside 0.01 to 10 mm"),
        ({"orientation": (1, 0, 0, 0, 1.02, 0)}, RefusalCode.GEOMETRY_INVALID, NOT_UNIT),
        ({"orientation": (0.98, 0, 0, 0, 1, 0)}, RefusalCode.GEOMETRY_INVALID, NOT_UNIT),
        ({"orientation": (1, 0, 0, 0.02, 1, 0)}, RefusalCode.GEOMETRY_INVALID, NOT_UNIT),
        ({"orientation": (1, 0, 0, -0.02, 1, 0)}, RefusalCode.GEOMETRY_INVALID, NOT_UNIT),
        (
            {"position": (0.0, -100_001.0, 0.0)},
            RefusalCode.GEOMETRY_INVALID,
            FAR,
        ),
    ],
)
def test_what_makes_a_slice_impossible_to_place(header, change, code, sentence) -> None:
    problem = geometry_problem(dataclasses.replace(stack(header, column(0))[0], **change))
    assert problem is not None
    assert problem == (code, sentence)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"spacing": (0.01, 10.0)},
        {"spacing": (1.0, 1.0)},
        {"orientation": (1, 0, 0, 0, 1.009, 0)},
        {"orientation": (1, 0, 0, 0.0099, 1, 0)},
        {"position": (100_000.0, -100_000.0, 0.0)},
    ],
)
def test_what_is_just_possible_to_place(header, change) -> None:
    assert geometry_problem(dataclasses.replace(stack(header, column(0))[0], **change)) is None
