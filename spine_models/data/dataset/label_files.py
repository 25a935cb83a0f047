"""Which files of ``segmentations/`` are label maps, and of which studies.

Imported while Snakemake parses the workflow: nothing here may import numpy or nibabel.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from spine_models.data.dataset import layout
from spine_models.data.dataset.disk import patiently
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dataset.uids import study_id
from spine_models.provenance.canonical import digest_json

_READ = (".nii", ".nii.gz")
_OTHERS = (".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".img.gz", ".mgz", ".mgh", ".mnc", ".nii.zip", ".nii.bz2")
"""Suffixes of label maps in other formats; a pair of files (header and voxels) counts as two."""


def label_study(file_name: str) -> str | None:
    """Return the id of the study that a label map is named after, None for a file that is not a label map."""
    suffix = _suffix(file_name)
    if file_name.startswith(".") or suffix is None:
        return None
    return study_id(file_name[: len(file_name) - len(suffix)].strip())


def _suffix(file_name: str) -> str | None:
    """Return the suffix of a label map as it is written; names from Windows have capitals."""
    fitting = [suffix for suffix in (*_READ, *_OTHERS) if file_name.lower().endswith(suffix)]
    return file_name[-max(map(len, fitting)) :] if fitting else None


def label_files(dataset_dir: Path) -> dict[str, list[Path]]:
    """Return, for each study that ``segmentations/`` has label maps of, their files in any format.

    Raises:
        DiskError: if the folder cannot be read.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for path in segmentation_files(dataset_dir):
        study = label_study(path.name)
        if study is not None:
            found[study].append(path)
    return dict(found)


def segmentation_files(dataset_dir: Path) -> list[Path]:
    """List what is in ``segmentations/``, sorted by name; nothing where there is no such folder.

    Raises:
        DiskError: if the folder cannot be read, or is a link that leads nowhere, as to a disk that is not mounted.
    """
    folder = dataset_dir / layout.SEGMENTATIONS

    def listed() -> list[Path]:
        if folder.is_symlink() and not folder.exists():
            raise FileNotFoundError(errno.ENOENT, "a symbolic link leads nowhere")
        return sorted(folder.iterdir()) if folder.is_dir() else []

    return patiently(listed, str(folder))


def label_line(file: Path) -> str:
    """Return name, size and time of a file of ``segmentations/``; of a link that leads nowhere, the link's."""
    stat = file.stat() if file.exists() else file.lstat()
    return f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"


def label_state(files: Sequence[Path]) -> str:
    """Return a digest over names, sizes and times of a study's label maps.

    Raises:
        DiskError: if the disk does not give them.
    """
    return digest_json(patiently(lambda: [label_line(file) for file in files], "a label map"))


def one_label_file(paths: Sequence[Path]) -> Path:
    """Return the one file of a study's label map.

    Raises:
        StudyRefused: ``label_format`` if there are several, or one in a format that is not read.
    """
    nifti = [path for path in paths if (_suffix(path.name) or "").lower() in _READ]
    if len(nifti) == 1:
        return nifti[0]
    if nifti:
        suffixes = " and ".join(_suffix(path.name) or "" for path in nifti)
        raise StudyRefused(RefusalCode.LABEL_FORMAT, f"there are label maps {suffixes} for this study: remove one")
    suffix = _suffix(paths[0].name)
    raise StudyRefused(
        RefusalCode.LABEL_FORMAT,
        f"the label map is in the format {suffix}, which is not read: convert it to NIfTI, for example by python -c "
        f"\"import SimpleITK as s; s.WriteImage(s.ReadImage('IN{suffix}'), 'OUT.nii.gz')\"",
    )


def require_inside(path: Path, dataset_dir: Path) -> None:
    """Refuse a label map that is outside the data set.

    Raises:
        StudyRefused: ``link_outside``.
    """
    if not layout.real(path).is_relative_to(layout.real(dataset_dir)):
        raise StudyRefused(
            RefusalCode.LINK_OUTSIDE,
            "the label map is a symbolic link that leads out of the data set: copy it, or set allow_symlinks: true",
        )
