"""Whose files a tree holds, however it was packed: studies by StudyInstanceUID, and every other file by a reason."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from spine_models.data.dataset.disk import DiskError
from spine_models.data.dataset.layout import StudyFile, TreeFile, list_tree
from spine_models.data.dataset.quarantine import RefusalCode
from spine_models.data.dataset.uids import is_uid
from spine_models.data.dicom.file import (
    ArchiveError,
    FileTooLargeError,
    NotDicomError,
    UnreadableFileError,
    parse_file,
)
from spine_models.data.dicom.headers import PATIENT_ID, SERIES, STUDY
from spine_models.data.dicom.patients import known_patient
from spine_models.data.dicom.series import SEVERAL_PATIENTS
from spine_models.data.dicom.values import text_of
from spine_models.log import say
from spine_models.processes import trace_of

NOT_DICOM, NO_IMAGE = "not DICOM", "no image"
_DIRECTORY = "DICOMDIR"
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_DAMAGED, _ARCHIVE, _FAILED, _FOLDER, _LINK = "damaged", "archive", "failed", "folder", "link"


@dataclass(frozen=True)
class TreeStudy:
    """A study of a tree.

    Attributes:
        name: its StudyInstanceUID; without one, its folder's name if that is a UID, otherwise a digest of the folder.
        files: its files, by paths relative to the tree.
        asked_as: a UID that is the name of the one folder around all its files: a table may ask for the study by it.
        code: why it is refused already, "" if it is not; see ``RefusalCode``.
        reason: likewise, a sentence.
    """

    name: str
    files: tuple[StudyFile, ...]
    asked_as: str = ""
    code: str = ""
    reason: str = ""

    def folder(self) -> PurePosixPath:
        """Return the innermost folder around all files of the study, relative to the tree."""
        parents = [PurePosixPath(file.name).parent.parts for file in self.files]
        common = []
        for level in zip(*parents, strict=False):
            if len(set(level)) > 1:
                break
            common.append(level[0])
        return PurePosixPath(*common)


@dataclass(frozen=True)
class Tree:
    """What a tree holds: each of its files is in one study, or set aside for a reason."""

    studies: list[TreeStudy]
    aside: dict[str, str]


@dataclass(frozen=True)
class _Look:
    """What the header of one file says of its owner; ``kind`` is "" for an object with pixels."""

    file: StudyFile
    kind: str
    study: str = ""
    series: str = ""
    patient: str = ""
    problem: str = ""

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.file.name).parent)


def read_tree(root: Path, allow_symlinks: bool) -> Tree:
    """Read the headers of all files below ``root`` once, and say which study each belongs to.

    Objects without StudyInstanceUID belong to the one study of their folder, or are a study of their own, a folder
    each; so do damaged files. What the disk does not give (a file, or a folder of files) and links out of the tree
    belong to the one study of the folder around them and of the folders beside them, if that is not the tree itself:
    there, they may as well be another study. Archives are studies that are refused.

    Args:
        root: the tree.
        allow_symlinks: follow links that lead out of it.

    Raises:
        DiskError: if ``root`` cannot be read.
    """
    looks = [_look(root, entry) for entry in list_tree(root, allow_symlinks)]
    owners, aside = _owners(looks)
    of_study: dict[str, list[_Look]] = defaultdict(list)
    for look in looks:
        if look.file.name in owners:
            of_study[owners[look.file.name]].append(look)
    shared = _shared_series(of_study)
    studies = [_study(name, own, shared) for name, own in sorted(of_study.items())]
    return Tree(_asked_for(studies), aside)


def _look(root: Path, entry: TreeFile) -> _Look:
    if entry.outside:
        return _Look(entry.file, _LINK)
    if entry.unreadable:
        return _Look(entry.file, _FOLDER, problem=entry.unreadable)
    try:
        return _look_inside(root, entry.file)
    except DiskError as error:
        return _Look(entry.file, _FAILED, problem=str(error))
    except Exception as error:  # a bug, or memory that is not there, must not take the other studies along
        say(f"a file failed: {trace_of(error)}")
        return _Look(entry.file, _FAILED, problem=f"{type(error).__name__} while a file was read: the log shows where")


def _look_inside(root: Path, file: StudyFile) -> _Look:
    try:
        parsed = parse_file(root / file.name, (STUDY, SERIES, PATIENT_ID))
    except NotDicomError:
        return _Look(file, NOT_DICOM)
    except ArchiveError:
        return _Look(file, _ARCHIVE if file.name.lower().endswith(_ARCHIVES) else NOT_DICOM)
    except (FileTooLargeError, UnreadableFileError):
        is_directory = PurePosixPath(file.name).name.upper() == _DIRECTORY
        return _Look(file, NO_IMAGE if is_directory else _DAMAGED)
    elements = parsed.elements
    kind = NO_IMAGE if parsed.pixel_offset is None and not parsed.float_pixels else ""
    patient = known_patient(text_of(elements, PATIENT_ID))
    return _Look(file, kind, text_of(elements, STUDY), text_of(elements, SERIES), patient)


def _owners(looks: Sequence[_Look]) -> tuple[dict[str, str], dict[str, str]]:
    """Return file to study, and file to the reason why it has none."""
    of_folder: dict[str, set[str]] = defaultdict(set)
    below: dict[str, set[str]] = defaultdict(set)
    for look in looks:
        if look.study:
            of_folder[look.folder].add(look.study)
            for parent in PurePosixPath(look.file.name).parents[:-1]:
                below[str(parent)].add(look.study)
    owners, aside = {}, {}
    for look in looks:
        if look.study:
            owners[look.file.name] = _name_of(look.study)
        elif look.kind == NOT_DICOM or (look.kind == NO_IMAGE and len(of_folder[look.folder]) != 1):
            aside[look.file.name] = look.kind
        elif look.kind == _ARCHIVE:
            owners[look.file.name] = _digest_name(look.file.name)
        elif len(of_folder[look.folder]) == 1:
            owners[look.file.name] = _name_of(next(iter(of_folder[look.folder])))
        elif look.kind in (_FAILED, _FOLDER, _LINK) and len(below[look.folder]) == 1:
            owners[look.file.name] = _name_of(next(iter(below[look.folder])))
        else:
            owners[look.file.name] = _folder_name(look.file.name if look.kind == _FOLDER else look.folder)
    return owners, aside


def _name_of(study_uid: str) -> str:
    return study_uid if is_uid(study_uid) else _digest_name(study_uid)


def _folder_name(folder: str) -> str:
    """A folder's own name if it is a UID; names that are none may be a person's."""
    own = PurePosixPath(folder).name
    return own if is_uid(own) else _digest_name(folder)


def _digest_name(text: str) -> str:
    return "folder-" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _shared_series(of_study: Mapping[str, Iterable[_Look]]) -> set[str]:
    owners: dict[str, set[str]] = defaultdict(set)
    for name, looks in of_study.items():
        for look in looks:
            owners[look.series].add(name)
    return {series for series, names in owners.items() if series and len(names) > 1}


def _study(name: str, looks: Sequence[_Look], shared: set[str]) -> TreeStudy:
    study = TreeStudy(name, tuple(sorted((look.file for look in looks), key=lambda file: file.name)))
    problems = [look.problem for look in looks if look.problem]
    if problems:
        return replace(study, code=RefusalCode.FAILED.value, reason=problems[0])
    if any(look.kind == _ARCHIVE for look in looks):
        return replace(study, code=RefusalCode.ARCHIVE.value, reason="an archive: unpack it, then run again")
    if any(look.kind == _LINK for look in looks):
        reason = "a symbolic link leads out of the tree: copy the files, or set allow_symlinks: true"
        return replace(study, code=RefusalCode.LINK_OUTSIDE.value, reason=reason)
    if len({look.patient for look in looks} - {""}) > 1:
        return replace(study, code=RefusalCode.SEVERAL_PATIENTS.value, reason=SEVERAL_PATIENTS)
    if any(look.series in shared for look in looks):
        reason = "a series of the study is in other studies too (one SeriesInstanceUID): export the studies again"
        return replace(study, code=RefusalCode.SERIES_SHARED.value, reason=reason)
    return study


def _asked_for(studies: Sequence[TreeStudy]) -> list[TreeStudy]:
    """Find the outermost folder that is a UID and holds only one study."""
    below: dict[str, set[str]] = defaultdict(set)
    for study in studies:
        for file in study.files:
            for parent in PurePosixPath(file.name).parents:
                below[str(parent)].add(study.name)

    def asked_as(study: TreeStudy) -> str:
        inner = study.folder()
        folders = [folder for folder in (*reversed(inner.parents), inner) if is_uid(folder.name)]
        return next((folder.name for folder in folders if len(below[str(folder)]) == 1), "")

    return [replace(study, asked_as=asked_as(study)) for study in studies]
