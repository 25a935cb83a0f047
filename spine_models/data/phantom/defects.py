"""Damage that sends a study into quarantine, and the code with which it is to be found there."""

from __future__ import annotations

from pathlib import Path

from spine_models.data.dataset.quarantine import RefusalCode

EXPECTED: dict[str, RefusalCode] = {
    "sagittal": RefusalCode.NOT_AXIAL,
    "truncated": RefusalCode.PIXELS_DAMAGED,
    "one_slice": RefusalCode.TOO_FEW_SLICES,
    "no_pixels": RefusalCode.NO_IMAGES,
    "gap": RefusalCode.SLICES_MISSING,
    "empty": RefusalCode.NO_IMAGES,
}
"""Kind of damage to the code expected in ``index/quarantine.csv``."""

DEFECTS: tuple[str, ...] = tuple(EXPECTED)
"""Kinds of damage, in the order in which defective studies get them."""

_KEPT_PART = 0.5
_GAP_PART = 0.2


def damage_files(defect: str, files: list[Path]) -> None:
    """Damage a study that is written already.

    Args:
        defect: one of ``DEFECTS``; ``sagittal`` and ``no_pixels`` are made when the files are written.
        files: in the order of the slices.
    """
    if defect == "truncated":
        path = files[len(files) // 2 - len(files) // 2 % 2]
        content = path.read_bytes()
        path.write_bytes(content[: int(_KEPT_PART * len(content))])
    elif defect == "one_slice":
        _remove(files[:-1])
    elif defect == "gap":
        start = len(files) // 3
        _remove(files[start : start + max(2, int(_GAP_PART * len(files)))])
    elif defect == "empty":
        _remove(files)


def _remove(files: list[Path]) -> None:
    for path in files:
        path.unlink()
