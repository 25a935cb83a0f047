"""The one loop over the studies of a shard: find or make each, refuse what cannot be used, leave a clean folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spine_models.errors import StorageError, StudyFailedError, UserError, is_of_storage
from spine_models.log import say
from spine_models.processes import trace_of
from spine_models.provenance.files import clear_left_overs
from spine_models.provenance.keys import Key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import Record, Work
from spine_models.provenance.refused import Refused

FAILED = "failed"
_OURS = (".json", ".npy", ".nii.gz", ".dcm", ".png")
"""Ends of the names that stages give to files of a shard; a file with another name is somebody else's."""


@contextmanager
def open_shard(stage: str, *manifests: Path, name_failed: bool = False) -> Iterator[Shard]:
    """Hold a shard while its studies are worked through; then write its manifests and say how much was made.

    Where the block fails, no manifest is written: what was made is found again by the next job. Likewise where a study
    failed, after the others were worked through; unless the manifest is to name it.

    Args:
        stage: name of the rule.
        manifests: what to write; arrays and records are in the folder of each one's name.
        name_failed: failed studies are in the manifest, with the code ``failed``.

    Raises:
        UserError: if another process writes this shard, or a study failed.

    Example:
        >>> with open_shard("make_crops", Path("crops/0.json")) as shard:   # doctest: +SKIP
        ...     for study in studies:
        ...         with shard.study(study):
        ...             shard.result(study, key_of(study), make)
    """
    shard = Shard(stage, manifests)
    with ExitStack() as locks:
        for folder in shard.folders:
            locks.enter_context(folder_lock(folder))
            clear_left_overs(folder)
        yield shard
        if name_failed:
            shard.refused |= {study: {"code": FAILED, "reason": why} for study, why in shard.failed.items()}
        else:
            shard.require_success()
        for number, (manifest, folder) in enumerate(zip(manifests, shard.folders, strict=True)):
            records = {study: found[number] for study, found in shard.done.items()}
            remove_strangers(folder, records, shard.kept)
            write_manifest(manifest, {study: record.digest for study, record in records.items()}, shard.refused)
    shard.work.say(len(shard.refused))


class Shard:
    """What happened to the studies of a shard so far.

    Attributes:
        folders: of arrays and records, one for each manifest.
        done: study to its record in each folder.
        refused: name to code and reason, as the manifest holds them.
        failed: name to a sentence, for studies that could not be worked on: a bug, no memory, a disk.
        kept: names of further files that belong to the shard.
        work: how much was made and how much was found.
    """

    def __init__(self, stage: str, manifests: Sequence[Path]) -> None:
        """See ``open_shard``; without manifests, what is made of the studies is not stored one by one."""
        self.folders = tuple(manifest.with_suffix("") for manifest in manifests)
        self.done: dict[str, tuple[Record, ...]] = {}
        self.refused: dict[str, dict[str, str]] = {}
        self.failed: dict[str, str] = {}
        self.kept: set[str] = set()
        self.work = Work(stage)
        self._stage = stage

    @contextmanager
    def study(self, name: str) -> Iterator[None]:
        """Go on without the study where the block refuses it or fails.

        This is the one place that says what one study's failure means for the others. Any other mistake of the user's
        (``UserError``) concerns them all and passes.

        Args:
            name: what the manifest calls the study if it is refused.
        """
        try:
            yield
        except Refused as refusal:
            self.refused[name] = refusal.as_entry()
        except StudyFailedError as error:
            self.failed[name] = str(error)
            say(f"{name} failed: {error}")
        except UserError:
            raise
        except OSError as error:
            if is_of_storage(error):
                raise StorageError.of(error) from None
            self._failed(name, error)
        except Exception as error:  # a bug, or memory that is not there, must not take the other studies along
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self.failed[name] = f"{type(error).__name__} while the study was worked on: the log shows where"
        say(f"{name} failed: {trace_of(error)}")

    def result(self, study: str, key: Key, make: Callable[[Path], Record]) -> Record:
        """Return the record of ``study`` if it was made under ``key`` and is intact; otherwise make it.

        Args:
            study: the study.
            key: what its record depends on.
            make: makes the files beside the path of a record, then the record.
        """
        path = self.folders[0] / f"{study}.json"
        record = self.work.result(path, key, lambda: make(path))
        self.done[study] = (record,)
        return record

    def require_success(self) -> None:
        """Check that no study failed.

        Raises:
            UserError: naming those that did.
        """
        if not self.failed:
            return
        study, why = next(iter(self.failed.items()))
        more = f"; {len(self.failed) - 1} more failed: {', '.join([*self.failed][1:])}" if len(self.failed) > 1 else ""
        kept = ". The other studies are finished and kept" if self.folders else ""
        raise UserError(f"{self._stage}: the study {study} failed ({why}){more}{kept}")


def remove_strangers(folder: Path, records: Mapping[str, Record], kept: Collection[str] = ()) -> None:
    """Delete what an earlier job made of studies that no longer belong to a shard.

    Args:
        folder: of the shard.
        records: of the studies that belong to it.
        kept: names of further files to keep.
    """
    wanted = {f"{study}.json" for study in records} | {*kept}
    wanted |= {name for record in records.values() for name in record.files}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(_OURS) and not path.name.startswith(".") and path.name not in wanted:
            path.unlink()
