"""Which folders hold the studies to predict, whoever packed them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from spine_models.data.dataset.layout import study_folders
from spine_models.data.dataset.shards import shard_of
from spine_models.data.dataset.uids import is_uid, study_id
from spine_models.errors import UserError

_PREAMBLE = 128
_MAGIC = b"DICM"
_INDEX_FILE = "DICOMDIR"
_FILES_LOOKED_AT = 50


@dataclass(frozen=True)
class StudyFolder:
    """A folder with one study.

    Attributes:
        path: the folder.
        name: what the study is called as long as nothing in it could be read: the folder's name if it is a UID,
            otherwise a digest of it, since a name may be a patient's.
    """

    path: Path
    name: str

    @property
    def uid(self) -> str | None:
        """The folder's name if it is a UID: a table may refer to the study by it."""
        return self.name if is_uid(self.path.name) else None


def folders_to_predict(studies: Path) -> list[StudyFolder]:
    """List the studies below ``studies``: one a folder, or the folder itself where it holds DICOM files.

    Raises:
        UserError: if it is no folder or holds nothing.
    """
    if not studies.is_dir():
        raise UserError(f"{studies} is no folder: give the folder that holds one folder a study")
    inner = study_folders(studies)
    files = sorted(path for path in studies.iterdir() if path.is_file() and not path.name.startswith("."))
    if _holds_images(files) or (files and not inner):
        return [_described(studies.resolve())]
    if not inner:
        raise UserError(f"{studies} is empty: it must hold one folder a study")
    return [_described(Path(entry.path)) for entry in inner]


def shard_folders(studies: Path, shard: int, shards: int) -> list[StudyFolder]:
    """List the studies of one shard; the shard is that of the folder's name, known before anything is read."""
    return [folder for folder in folders_to_predict(studies) if shard_of(folder.name, shards) == shard]


def _described(path: Path) -> StudyFolder:
    return StudyFolder(path, study_id(path.name))


def _holds_images(files: list[Path]) -> bool:
    """Say whether one of the first files is DICOM; the index file of a medium lies beside folders of studies."""
    candidates = (path for path in files if path.name.upper() != _INDEX_FILE)
    return any(_is_dicom(path) for path in itertools.islice(candidates, _FILES_LOOKED_AT))


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False
