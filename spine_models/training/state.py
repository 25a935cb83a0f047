"""Where the state of a training is: one folder for each key, so that nothing is ever continued that differs.

``<root>/<key>/`` holds ``key.json`` (what the key was made from), the checkpoint, the best epochs' weights, and when
the training is finished, ``result/`` with its record, from which a rerun republishes in seconds. The root is no
declared output, so that Snakemake does not touch it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.errors import UserError
from spine_models.log import say
from spine_models.provenance.files import clear_left_overs, replacing
from spine_models.provenance.keys import Key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.records import Record, file_facts, find_record, write_record
from spine_models.provenance.sealed import read_sealed, write_sealed
from spine_models.provenance.vouched import is_vouched_ahead, vouch

CHECKPOINT = "checkpoint.ckpt"
KEPT_STATES = 3
"""States that a training's folder holds at most: this one and the two used before it."""
_KEY = "key.json"
_RESULT = "result"
_RECORD = "finished.json"
_OF_THIS_RUN = ".run.json"
"""Ending of what no two runs share, and no later job reads."""


@dataclass(frozen=True)
class State:
    """The state of one training under one key.

    Attributes:
        root: folder of all states of this training.
        key: see ``provenance.keys.Key``.
    """

    root: Path
    key: Key

    @property
    def folder(self) -> Path:
        """Where this state is."""
        return self.root / self.key.digest[:16]

    @property
    def result(self) -> Path:
        """Where the finished result is."""
        return self.folder / _RESULT

    def finished(self) -> Record | None:
        """Return the record of the finished result, if there is one and all its files are intact."""
        return find_record(self.result / _RECORD, self.key)

    def clear_damaged(self) -> None:
        """Start anew where the checkpoint is not what was written: a changed bit would go on into the weights."""
        path = self.folder / CHECKPOINT
        if path.exists() and not is_vouched_ahead(path):
            self.clear(f"{path} differs from its record")

    def clear(self, why: str) -> None:
        """Remove what was trained so far, and say why."""
        say(f"{self.folder}: {why}, so that the training starts anew")
        for path in self.folder.iterdir():
            if path.name != _KEY:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def finish(self, facts: Mapping[str, Any]) -> Record:
        """Record the files in ``result`` and remove what only an unfinished training needs."""
        files = [path for path in sorted(self.result.rglob("*")) if path.is_file() and path.name != _RECORD]
        described = {path.relative_to(self.result).as_posix(): file_facts(path) for path in files}
        record = write_record(self.result / _RECORD, self.key, described, facts)
        for path in self.folder.iterdir():
            if path.name not in (_KEY, _RESULT, "tensorboard"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return record

    def publish(self, out: Path) -> None:
        """Copy the finished result to ``out``, each file atomically, with its record.

        Files of an earlier result are replaced.

        Raises:
            UserError: if the result is not finished.
        """
        record = self.finished()
        if record is None:
            raise UserError(f"{self.result} is not finished: run the same command again")
        for folder in {(out / name).parent for name in record.files} - {out}:
            shutil.rmtree(folder, ignore_errors=True)
        for name, facts in record.files.items():
            with replacing(out / name) as temporary:
                shutil.copyfile(self.result / name, temporary)
            if not name.endswith(_OF_THIS_RUN):
                vouch(out / name, self.key, facts)


def open_state(root: Path, key: Key) -> State:
    """Find or make the state of a training; call it under ``folder_lock(root)``.

    Where another state was used before and none exists under this key, it says which values differ. The oldest
    states beyond ``KEPT_STATES`` are removed.

    Args:
        root: folder of the training's states.
        key: of the training; its configuration is all that the weights depend on.
    """
    state = State(root, key)
    others = [folder for folder in _by_age(root) if folder != state.folder]
    if not (state.folder / _KEY).exists() and others:
        changed = ", ".join(_differences(_key_in(others[0]), key.parts()))
        say(f"{root}: starting anew, since the training differs from the one before ({changed})")
    state.folder.mkdir(parents=True, exist_ok=True)
    clear_left_overs(state.folder, below=True)
    write_sealed(state.folder / _KEY, key.parts())
    for folder in others[KEPT_STATES - 1 :]:
        say(f"removing the old state {folder}")
        shutil.rmtree(folder)
    return state


def prune(root: Path) -> list[Path]:
    """Remove all states of a training but the last used; return the removed folders.

    Raises:
        UserError: if a training is running there.
    """
    with folder_lock(root):
        removed = _by_age(root)[1:]
        for folder in removed:
            shutil.rmtree(folder)
    return removed


def prune_all(states: Path) -> list[Path]:
    """Call ``prune`` for every training below ``states``."""
    roots = {path.parent.parent for path in states.rglob(_KEY)}
    return [removed for root in sorted(roots) for removed in prune(root)]


def _by_age(root: Path) -> list[Path]:
    """Return the folders of states, last used first."""
    keys = sorted(root.glob(f"*/{_KEY}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path.parent for path in keys]


def _key_in(folder: Path) -> Any:
    try:
        return read_sealed(folder / _KEY)
    except (FileNotFoundError, ValueError):
        return None


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted(before.keys() | now.keys())
        found = [_differences(before.get(key), now.get(key), f"{name}.{key}" if name else key) for key in names]
        return [difference for part in found for difference in part]
    if before == now:
        return []
    if len(str(before)) + len(str(now)) > 80:
        return [f"{name} changed"]
    return [f"{name}: {before} before, {now} now"]
