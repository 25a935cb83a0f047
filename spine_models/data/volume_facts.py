"""What is known of a study's volume beside its voxels, as the record of the half-size volume keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.provenance.facts import Facts

Affine = tuple[tuple[float, ...], ...]
"""Four rows of four: (z, y, x, 1) to DICOM's millimetres (LPS)."""


@dataclass(frozen=True)
class SeriesFacts(Facts):
    """A stack of a study: the one that was read, or another.

    Attributes:
        series: SeriesInstanceUID; "" where it is not valid.
        number: SeriesNumber.
        kernel: without unusual characters.
        thickness_mm: of its slices.
        slices: how many.
        why_not: why it was not read; "" for the one that was.
    """

    series: str
    number: int | None
    kernel: str
    thickness_mm: float
    slices: int
    why_not: str


@dataclass(frozen=True)
class VolumeFacts(Facts):
    """Geometry, statistics and notes of a volume.

    Attributes:
        shape: (z, y, x) of the full grid, after ``z_step``.
        half_shape: (z, y, x) of the half grid, with padding.
        half_inner_shape: the same without padding.
        half_factor: half pixels for each full pixel.
        spacing_mm: (z, y, x) of the full grid.
        affine_lps: of the full grid.
        half_affine_lps: of the half grid.
        slices: of the series, before ``z_step``.
        z_step: every ``z_step``-th slice is used.
        tilt_degrees: see ``dicom.geometry.Grid``.
        oblique_degrees: likewise.
        group: digest of the PatientID; "" where the files have none.
        frame_of_reference: UID; "" where the files have none, or no valid one.
        mean: of the half volume without padding, in HU.
        std: of the same, in HU, above 0.
        raw_zero_hu: HU of a stored value of 0.
        notes: sentences on what is unusual.
        series: of the stack that was read, then of every other axial one; see ``dicom.choice.series_facts``.
        manufacturer: of the scanner, without unusual characters; "" where the files have none.
    """

    shape: tuple[int, int, int]
    half_shape: tuple[int, int, int]
    half_inner_shape: tuple[int, int, int]
    half_factor: float
    spacing_mm: tuple[float, float, float]
    affine_lps: Affine
    half_affine_lps: Affine
    slices: int
    z_step: int
    tilt_degrees: float
    oblique_degrees: float
    group: str
    frame_of_reference: str
    mean: float
    std: float
    raw_zero_hu: float
    notes: tuple[str, ...]
    series: tuple[SeriesFacts, ...] = ()
    manufacturer: str = ""

    @property
    def half_spacing_mm(self) -> tuple[float, float, float]:
        """Spacing (z, y, x) of the half grid."""
        z, y, x = self.spacing_mm
        return z, y / self.half_factor, x / self.half_factor
