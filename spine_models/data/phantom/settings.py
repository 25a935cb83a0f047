"""What the phantom data set shall look like."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from spine_models.errors import UserError

GRADES: tuple[str, ...] = ("subtle", "moderate", "obvious")
"""Grades of a fracture's visibility, from hard to easy."""


@dataclass(frozen=True)
class GradeSettings:
    """How a fracture of one grade looks.

    Attributes:
        share: part of all fractures that have this grade; the three shares sum to 1.
        width_mm: thickness of the lucent line.
        contrast_hu: by how much the line is darker than the bone that it runs through (HU).
        displacement_mm: by how much the smaller fragment is shifted along the line.
    """

    share: float
    width_mm: float
    contrast_hu: float
    displacement_mm: float


@dataclass(frozen=True)
class GradesSettings:
    """The three grades; the defaults are those of ``config.yaml``."""

    subtle: GradeSettings = GradeSettings(0.2, 1.0, 250.0, 0.0)
    moderate: GradeSettings = GradeSettings(0.3, 2.0, 450.0, 1.5)
    obvious: GradeSettings = GradeSettings(0.5, 4.0, 800.0, 4.0)

    def of(self, grade: str) -> GradeSettings:
        """Return the settings of ``grade``, one of ``GRADES``."""
        settings: GradeSettings = getattr(self, grade)
        return settings


@dataclass(frozen=True)
class PhantomSettings:
    """One phantom data set; the defaults are those of ``config.yaml``.

    Attributes:
        studies: training studies that can be used.
        segmented: how many of them have a segmentation.
        test_studies: studies in ``test_images``.
        defective: further training studies that must end in quarantine.
        matrix: rows and columns of a slice; one study in a larger set has some columns more.
        field_of_view_mm: side of a slice; varies by a tenth from study to study.
        slice_mm: distance of neighbouring slices; varies by a tenth.
        fractured_share: part of the studies that have a fracture.
        border_share: part of the studies with -2048 or -3024 outside the scanner's circle, without a padding tag.
        metal_share: part of the studies with a rod of 30000 HU near the spine.
        grades: what the fractures look like.
        marker: whether every study holds a dense bead on the patient's left, in front, at the height of C3.
    """

    studies: int = 40
    segmented: int = 12
    test_studies: int = 4
    defective: int = 1
    matrix: int = 128
    field_of_view_mm: float = 150.0
    slice_mm: float = 1.25
    fractured_share: float = 0.5
    border_share: float = 0.25
    metal_share: float = 0.1
    grades: GradesSettings = field(default_factory=GradesSettings)
    marker: bool = True

    def checked(self) -> PhantomSettings:
        """Return the settings themselves if a data set can be made from them.

        Raises:
            UserError: naming the first key whose value is impossible.
        """
        for key, low, high in _LIMITS:
            value = getattr(self, key)
            if not low <= value <= high:
                raise UserError(f"phantom.{key} is {value}: choose a value from {low} to {high}")
        if self.segmented > self.studies:
            raise UserError(f"phantom.segmented is {self.segmented}: choose at most phantom.studies ({self.studies})")
        total = sum(self.grades.of(grade).share for grade in GRADES)
        if not abs(total - 1.0) <= 1e-6 or min(self.grades.of(grade).share for grade in GRADES) < 0:
            raise UserError(f"phantom.grades: the shares sum to {total:g}: make them sum to 1, none below 0")
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, with the keys of ``config.yaml``."""
        return asdict(self)


_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("studies", 1, 100_000),
    ("segmented", 0, 100_000),
    ("test_studies", 0, 100_000),
    ("defective", 0, 100_000),
    ("matrix", 32, 1024),
    ("field_of_view_mm", 80.0, 500.0),
    ("slice_mm", 0.3, 10.0),
    ("fractured_share", 0.0, 1.0),
    ("border_share", 0.0, 1.0),
    ("metal_share", 0.0, 1.0),
)
