"""The running state of a training: written while an epoch runs, and continued bit for bit.

A checkpoint is Lightning's own (weights, optimizer, schedule, scaler, callbacks) plus what Lightning does not
keep: the random state and the running means of every process, and the place in the epoch. Its loops' counters are
written for the place where the training goes on, whatever the number of processes it goes on with.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import distributed

from spine_models.training.best_epochs import BestEpochs
from spine_models.training.loaders import EpochBatches
from spine_models.training.stage_module import StageModule, gather, merge_sums

CHECKPOINT = "checkpoint.ckpt"
_WRITING = ".checkpoint.tmp.ckpt"
_KEY = "spine_models"


class StateKeeper(Callback):
    """Writes the state at least every so many minutes and at the end of every epoch; must be the last callback."""

    def __init__(self, folder: Path, minutes: float, batches: EpochBatches, best: BestEpochs) -> None:
        """Write into ``folder``.

        Args:
            folder: the training's state.
            minutes: longest time between two states while steps are being made; 0 writes one at every step.
            batches: whose place in the epoch belongs to the state.
            best: told to remove files once the state that does not name them is written.
        """
        self.folder, self.minutes, self.batches, self.best = folder, minutes, batches, best
        self.resumes: list[dict[str, Any]] = []
        self._written = time.monotonic()
        self._random: dict[str, Any] | None = None
        self._sums: dict[str, float] = {}
        self._position = (0, 0)
        self._named: set[str] = set()

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.folder / CHECKPOINT

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning does not keep; every process takes part."""
        assert isinstance(pl_module, StageModule)
        rank_state = {"random": random_state(pl_module.device), "sums": pl_module.running_sums()}
        checkpoint[_KEY] = {
            "position": list(self._position),
            "processes": trainer.world_size,
            "ranks": gather(rank_state),
            "skipped": pl_module.skipped,
            "resumes": self.resumes,
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Prepare to go on where the checkpoint was written."""
        assert isinstance(pl_module, StageModule)
        own = checkpoint[_KEY]
        epoch, step = own["position"]
        self.batches.start_at(epoch, step)
        set_position(checkpoint["loops"]["fit_loop"], epoch, step * self.batches.plan.accumulation)
        pl_module.skipped = own["skipped"]
        same = own["processes"] == trainer.world_size
        resumed = {"epoch": epoch, "step": step, "processes": trainer.world_size, "was": own["processes"]}
        self.resumes = [*own["resumes"], resumed]
        if same:
            rank_state = own["ranks"][trainer.global_rank]
            self._random, self._sums = rank_state["random"], rank_state["sums"]
        elif trainer.is_global_zero:
            # The means of an epoch are sums over processes, so one process may carry on with all of them.
            self._sums = merge_sums([part["sums"] for part in own["ranks"]])
        if trainer.is_global_zero:
            bits = "" if same else f" (by {own['processes']} processes before: not bit for bit)"
            sys.stderr.write(
                f"going on at epoch {epoch + 1}, step {step + 1} with {trainer.world_size} processes{bits}\n"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Continue the running means."""
        assert isinstance(pl_module, StageModule)
        self._named = {epoch.file for epoch in self.best.best}
        pl_module.restore_sums(self._sums)
        if self.path.exists():
            pl_module.good_checkpoint = str(self.path)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        """Restore the random state as late as possible, so that nothing draws in between."""
        if self._random is not None:
            restore_random_state(self._random, pl_module.device)
            self._random = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the state between two steps, if it is time; the last step's follows at the end of the epoch."""
        step, rest = divmod(batch_idx + 1, self.batches.plan.accumulation)
        if rest == 0 and step < self.batches.steps and self._is_time():
            self._save(trainer, pl_module, (trainer.current_epoch, step))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state behind the validation."""
        if self._is_time():
            self._save(trainer, pl_module, (trainer.current_epoch + 1, 0))
        if trainer.is_global_zero:
            self.best.prune(self._named)

    def _is_time(self) -> bool:
        due = time.monotonic() - self._written >= 60.0 * self.minutes
        if not distributed.is_initialized():
            return due
        answer: list[bool] = [due]
        distributed.broadcast_object_list(answer, src=0)
        return answer[0]

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule, position: tuple[int, int]) -> None:
        assert isinstance(module, StageModule)
        self._position = position
        self._named = {epoch.file for epoch in self.best.best}
        temporary = self.folder / _WRITING
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(self.path)
        module.good_checkpoint = str(self.path)
        self._written = time.monotonic()


def set_position(loops: dict[str, Any], epoch: int, batches: int) -> None:
    """Write the counters of Lightning's fit loop for ``batches`` micro-batches into ``epoch``.

    Lightning saves its counters from inside a hook, in the middle of being advanced, and counts micro-batches, whose
    number a step changes with the number of processes. These are the counters of a loop between two batches.
    """
    started = epoch + (batches > 0)
    for progress in loops["epoch_progress"].values():
        progress.update(ready=started, started=started, processed=epoch, completed=epoch)
    batch_progress = loops["epoch_loop.batch_progress"]
    batch_progress["is_last_batch"] = False
    for name in ("total", "current"):
        counters = batch_progress[name]
        counters.update(dict.fromkeys(counters, batches))
    for progress in loops["epoch_loop.val_loop.batch_progress"].values():
        if isinstance(progress, dict):
            progress.update(dict.fromkeys(progress, 0))


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every global source of random numbers of this process, as values that torch loads safely."""
    numpy_state: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = numpy_state
    return {
        "python": random.getstate(),
        "numpy": [kind, keys.tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Continue from ``random_state``."""
    random.setstate(state["python"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.asarray(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
