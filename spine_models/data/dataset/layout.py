"""The layout of a data set on disk, and what may become a path.

Imported while Snakemake parses the workflow: nothing here may import pandas, numpy or pydicom.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from spine_models.data.dataset.disk import DiskError, patiently
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dataset.shards import shard_of
from spine_models.data.dataset.uids import is_uid, study_id
from spine_models.errors import UserError

IMAGES = "train_images"
TEST_IMAGES = "test_images"
SEGMENTATIONS = "segmentations"
TRAIN_TABLE = "train.csv"
BOXES_TABLE = "train_bounding_boxes.csv"
TEST_TABLE = "test.csv"

_MAX_DEPTH = 16
"""Folders within folders; links that lead in a circle are deeper."""
_MUST_HOLD = (
    f"{IMAGES}/<StudyInstanceUID>/*.dcm, {SEGMENTATIONS}/<StudyInstanceUID>.nii, {TRAIN_TABLE} and {BOXES_TABLE}"
)
_ADVICE = f"it must contain {_MUST_HOLD}; `make demo` needs none"


@dataclass(frozen=True)
class StudyFile:
    """A file of a study's folder.

    Attributes:
        name: path relative to the study's folder, with forward slashes.
        size: bytes.
        mtime_ns: time of the last modification.
        changed_ns: time of the last change of any kind, which nobody can set; 0 where it is not known. It is no part
            of what a study is: copies, links and new permissions change it.
    """

    name: str
    size: int
    mtime_ns: int
    changed_ns: int = field(default=0, compare=False)


def require_dataset(dataset_dir: str | Path) -> Path:
    """Check that ``dataset_dir`` has the layout of the challenge, without looking into any study.

    Raises:
        UserError: if it is not given, is not a folder, cannot be read, or lacks the images.
    """
    advice = _ADVICE
    if not str(dataset_dir):
        raise UserError(f"dataset_dir is not set: give the folder of your data set, {advice}")
    root = Path(dataset_dir)
    what = f"dataset_dir {root}"
    if not patiently(root.is_dir, what):
        raise UserError(f"dataset_dir {root} is not a folder: {advice}")
    if not patiently((root / IMAGES).is_dir, what):
        near = patiently(lambda: _near(root), what)
        if near:
            raise UserError(f"dataset_dir {root} lacks {IMAGES}/, and {near} has it: give that folder")
        _require_case(root, IMAGES)
        raise UserError(f"dataset_dir {root} lacks {IMAGES}/: {advice}")
    return root


def require_train_table(dataset: Path) -> Path:
    """Return the path of ``train.csv``, without which there are masks but no fractures to learn.

    Raises:
        UserError: if it is missing.
    """
    path = dataset / TRAIN_TABLE
    if not patiently(path.is_file, f"dataset_dir {dataset}"):
        _require_case(dataset, TRAIN_TABLE)
        raise UserError(
            f"dataset_dir {dataset} lacks {TRAIN_TABLE}: {_ADVICE}; `snakemake mask_bundle` trains without fractures"
        )
    return path


def _require_case(dataset: Path, name: str) -> None:
    """Name what differs from ``name`` in capitals only, which a person may have copied from another system.

    Raises:
        UserError: if there is such a file or folder.
    """
    names = patiently(lambda: sorted(path.name for path in dataset.iterdir()), f"dataset_dir {dataset}")
    found = next((other for other in names if other != name and other.lower() == name.lower()), None)
    if found:
        raise UserError(f"dataset_dir {dataset} lacks {name}, but has {found}: rename it to {name}")


def _near(root: Path) -> Path | None:
    """Return the folder around ``root``, or in it, that has the layout: a person gave one too deep or too high."""
    near = (root.parent, *(root / entry.name for entry in study_folders(root)))
    return next((folder for folder in near if (folder / IMAGES).is_dir()), None)


def require_apart(studies: Path, out: Path) -> None:
    """Check that results are not written among the studies, nor studies read among results.

    Raises:
        UserError: if one of the two folders is inside the other.
    """
    tree, results = real(studies), real(out)
    if tree == results or tree in results.parents or results in tree.parents:
        raise UserError(f"{out} and {studies} are inside one another: write the results into a folder of their own")


def study_folders(images_dir: Path) -> list[os.DirEntry[str]]:
    """List the folders (and links to folders) in ``images_dir``, sorted by name; hidden ones are passed over.

    A link that leads nowhere, as to a disk that is not mounted, is listed where its name is a study's.

    Raises:
        DiskError: if the folder cannot be read.
    """

    def listed() -> list[os.DirEntry[str]]:
        if not images_dir.is_dir():
            return []
        with os.scandir(images_dir) as entries:
            return [entry for entry in entries if _is_study(entry)]

    return sorted(patiently(listed, str(images_dir)), key=lambda entry: entry.name)


def _is_study(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return False
    return entry.is_dir() or (entry.is_symlink() and not Path(entry.path).exists() and is_uid(study_id(entry.name)))


def folders_digests(dataset_dir: Path, shards: int) -> dict[int, str]:
    """Return, for each shard, a digest over (name, modification time) of the folders of its studies.

    One pass for all shards, so that a new or changed study is noticed while the workflow is planned
    (``docs/scale.md`` has the times). Files overwritten in place, or exchanged in a folder of series below the study's,
    do not change it; ``spine-models check --output-dir`` finds those.
    """
    images = dataset_dir / IMAGES
    lines = patiently(lambda: list(_folder_lines(images)) if images.is_dir() else [], str(images))
    return digests_by_shard(lines, shards)


def _folder_lines(images_dir: Path) -> Iterator[tuple[str, str]]:
    # Through a descriptor, the kernel need not walk down to the folder again for each of its entries.
    descriptor = os.open(images_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir():
                    yield study_id(entry.name), f"{entry.name}\0{entry.stat().st_mtime_ns}\n"
    finally:
        os.close(descriptor)


def digests_by_shard(lines: Iterable[tuple[str, str]], shards: int) -> dict[int, str]:
    """Return, for each shard, a digest over the lines of its studies, in whatever order they come.

    Args:
        lines: (study, what is known of it).
        shards: number of shards.
    """
    of_shard: list[list[str]] = [[] for _ in range(shards)]
    for study, line in lines:
        of_shard[shard_of(study, shards)].append(line)
    return {
        shard: hashlib.sha256("".join(sorted(own)).encode("utf-8", "surrogateescape")).hexdigest()
        for shard, own in enumerate(of_shard)
    }


def list_files(folder: Path, root: Path, allow_symlinks: bool) -> list[StudyFile]:
    """List the files of a study, in folders of series too, sorted by name.

    Args:
        folder: the study's folder.
        root: folder that links must not lead out of.
        allow_symlinks: follow links that lead out of ``root``.

    Raises:
        StudyRefused: ``link_outside`` if a link leads out of ``root``; ``no_images`` if folders are too deep.
        DiskError: if a folder cannot be read, or a link leads nowhere, as to a disk that is not mounted.
    """
    if not allow_symlinks:
        _require_inside(folder, real(root))
    files = patiently(
        lambda: list(_walk(folder, "", real(root), allow_symlinks, 0)), "a folder of the study, or a file in it,"
    )
    return sorted(files, key=lambda file: file.name)


@dataclass(frozen=True)
class TreeFile:
    """A file of a tree, a link that leads out of it and is not followed (``outside``), or a folder that cannot be read.

    Attributes:
        file: the file, link or folder.
        outside: see above.
        unreadable: why the disk does not give the folder, otherwise "".
    """

    file: StudyFile
    outside: bool = False
    unreadable: str = ""


def list_tree(root: Path, allow_symlinks: bool) -> list[TreeFile]:
    """List all files below ``root``, sorted by their path.

    Raises:
        DiskError: if ``root`` cannot be read; of a folder below it, the list says so.
        UserError: if folders are too deep.
    """
    found: list[TreeFile] = []
    resolved = real(root)

    def walk(folder: Path, prefix: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise UserError(f"{root} has folders that are more than {_MAX_DEPTH} deep: give a folder further down")
        for entry in patiently(partial(_entries, folder), "a folder of the tree"):
            if entry.is_symlink():
                target = real(Path(entry.path))
                if real(folder).is_relative_to(target):
                    continue  # a circle
                if not allow_symlinks and not target.is_relative_to(resolved):
                    found.append(TreeFile(StudyFile(prefix + entry.name, 0, 0), outside=True))
                    continue
            if _is_folder(entry):
                below(Path(entry.path), prefix + entry.name, depth + 1)
            elif _may_be_file(entry):
                found.append(TreeFile(_tree_file(entry, prefix)))

    def below(folder: Path, name: str, depth: int) -> None:
        try:
            walk(folder, f"{name}/", depth)
        except DiskError as error:
            found.append(TreeFile(StudyFile(name, 0, 0), unreadable=str(error)))

    walk(root, "", 0)
    return sorted(found, key=lambda entry: entry.file.name)


def real(path: Path) -> Path:
    """Return where links lead; of links that lead to one another, one of them."""
    return Path(os.path.realpath(path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that the disk does not follow; whoever reads the file says so
        return False


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a file, or a link that may be to one; pipes and devices are neither."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True


def _tree_file(entry: os.DirEntry[str], prefix: str) -> StudyFile:
    try:
        stat = entry.stat()
    except OSError:  # a link to a disk that is not there; whoever reads the file says so
        return StudyFile(prefix + entry.name, 0, 0)
    return StudyFile(prefix + entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def list_study(images_dir: Path, name: str, allow_symlinks: bool) -> list[StudyFile]:
    """List the files of a data set's study; links must not lead out of the folder around ``images_dir``.

    Raises:
        StudyRefused: ``folder_name`` if the name is not a UID, ``no_images`` without files; or as ``list_files``.
    """
    if name != name.strip(" ") and is_uid(name.strip(" ")):
        raise StudyRefused(RefusalCode.FOLDER_NAME, "the folder's name begins or ends with a space: rename it")
    if not is_uid(name):
        raise StudyRefused(RefusalCode.FOLDER_NAME, "the folder's name is not a UID: name it by the StudyInstanceUID")
    files = list_files(images_dir / name, images_dir.parent, allow_symlinks)
    if not files:
        raise StudyRefused(RefusalCode.NO_IMAGES, "the folder holds no files")
    return files


def _walk(folder: Path, prefix: str, root: Path, allow_symlinks: bool, depth: int) -> Iterator[StudyFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and not allow_symlinks:
                _require_inside(Path(entry.path), root)
            if entry.is_dir():
                if entry.is_symlink() and real(folder).is_relative_to(real(Path(entry.path))):
                    continue  # a circle
                if depth == _MAX_DEPTH:
                    raise StudyRefused(
                        RefusalCode.NO_IMAGES, f"folders are more than {_MAX_DEPTH} deep: move the files further up"
                    )
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", root, allow_symlinks, depth + 1)
            elif entry.is_file():
                stat = entry.stat()
                yield StudyFile(prefix + entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            elif entry.is_symlink():
                raise FileNotFoundError(errno.ENOENT, "a symbolic link leads nowhere")


def _require_inside(path: Path, root: Path) -> None:
    if not real(path).is_relative_to(root):
        raise StudyRefused(
            RefusalCode.LINK_OUTSIDE,
            "a symbolic link leads out of the data set: copy the files, or set allow_symlinks: true",
        )


def stat_digest(files: list[StudyFile]) -> str:
    """Return a digest over (name, size, modification time): equal as long as no file was touched."""
    sha = hashlib.sha256()
    for file in files:
        sha.update(f"{file.name}\0{file.size}\0{file.mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return sha.hexdigest()
