"""The running state of a training: written while an epoch runs, and continued bit for bit.

A checkpoint is Lightning's own (weights, optimizer, schedule, scaler, callbacks) plus what Lightning does not
keep: the random state and the running means of every process, and the place in the epoch. Its loops' counters are
written for the place where the training goes on, whatever the number of processes it goes on with.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import distributed

from spine_models.log import say
from spine_models.provenance.files import replacing
from spine_models.provenance.vouched import vouch_ahead
from spine_models.training.best_epochs import BestEpochs
from spine_models.training.loaders import EpochBatches
from spine_models.training.stage_module import StageModule, gather, merge_sums
from spine_models.training.state import CHECKPOINT

_KEY = "spine_models"


class StateFile(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces.

    Lightning's own way goes through the machine's temporary folder, which may be small, and where a kill leaves the
    half of a checkpoint for good.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint``, atomically, and before that its record."""
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
            vouch_ahead(Path(path), temporary)


class StateKeeper(Callback):
    """Writes the state at least every so many minutes, validation included; must be the last callback."""

    def __init__(self, folder: Path, minutes: float, batches: EpochBatches, held_out: int, best: BestEpochs) -> None:
        """Write into ``folder``.

        Args:
            folder: the training's state.
            minutes: longest time between two states; 0 writes one at every step and every held-out study.
            batches: whose place in the epoch belongs to the state.
            held_out: studies of a validation.
            best: told to remove files once the state that does not name them is written.
        """
        self.folder, self.minutes, self.best = folder, minutes, best
        self.batches, self.held_out = batches, held_out
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
        rank_state = {
            "random": random_state(pl_module.device),
            "sums": pl_module.running_sums(),
            "assessed": pl_module.assessed,
        }
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
        validating = step == self.batches.steps
        set_position(checkpoint["loops"]["fit_loop"], epoch, step * self.batches.plan.accumulation, validating)
        pl_module.skipped = own["skipped"]
        same = own["processes"] == trainer.world_size
        resumed = {"epoch": epoch, "step": step, "processes": trainer.world_size, "was": own["processes"]}
        self.resumes = [*own["resumes"], resumed]
        if same:
            rank_state = own["ranks"][trainer.global_rank]
            self._random, self._sums = rank_state["random"], rank_state["sums"]
            pl_module.assessed = rank_state["assessed"]
        elif trainer.is_global_zero:
            # The means of an epoch are sums over processes, so one process may carry on with all of them.
            self._sums = merge_sums([part["sums"] for part in own["ranks"]])
        if trainer.is_global_zero:
            bits = "" if same else f" (by {own['processes']} processes before: not bit for bit)"
            where = f"the validation of epoch {epoch + 1}" if validating else f"epoch {epoch + 1}, step {step + 1}"
            say(f"going on at {where} with {trainer.world_size} processes{bits}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Continue the running means."""
        assert isinstance(pl_module, StageModule)
        self._named = self.best.files
        pl_module.restore_sums(self._sums)
        pl_module.asks_for_state = self._is_due
        if self.path.exists():
            pl_module.good_checkpoint = str(self.path)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        """Restore the random state as late as possible, so that nothing draws in between."""
        self._restore_random(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the state behind a step, if it is time."""
        assert isinstance(pl_module, StageModule)
        step, rest = divmod(batch_idx + 1, self.batches.plan.accumulation)
        if rest == 0 and pl_module.state_is_due:
            self._save(trainer, pl_module, (trainer.current_epoch, step))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the random state where a training goes on with a validation."""
        self._restore_random(pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the state behind a held-out study, if it is time."""
        # The processes decide together, so that none may ask for a study that another does not have.
        if batch_idx < self.held_out // trainer.world_size and self._is_time():
            self._save(trainer, pl_module, (trainer.current_epoch, self.batches.steps))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state behind the validation."""
        if self._is_time():
            self._save(trainer, pl_module, (trainer.current_epoch + 1, 0))
        if trainer.is_global_zero:
            self.best.prune(self._named)

    def _restore_random(self, module: pl.LightningModule) -> None:
        if self._random is not None:
            restore_random_state(self._random, module.device)
            self._random = None

    def _is_due(self) -> bool:
        return time.monotonic() - self._written >= 60.0 * self.minutes

    def _is_time(self) -> bool:
        """Say in every process whether it is time for rank 0; behind a step ``StageModule`` has asked already."""
        if not distributed.is_initialized():
            return self._is_due()
        answer: list[bool] = [self._is_due()]
        distributed.broadcast_object_list(answer, src=0)
        return answer[0]

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule, position: tuple[int, int]) -> None:
        assert isinstance(module, StageModule)
        self._position = position
        self._named = self.best.files
        trainer.save_checkpoint(self.path)
        module.good_checkpoint = str(self.path)
        self._written = time.monotonic()


def set_position(loops: dict[str, Any], epoch: int, batches: int, validating: bool) -> None:
    """Write the counters of Lightning's fit loop for ``batches`` micro-batches into ``epoch``.

    Lightning saves its counters from inside a hook, in the middle of being advanced, and counts micro-batches, whose
    number a step changes with the number of processes. These are the counters of a loop between two batches, or, where
    ``validating``, of one that stopped in the middle of its validation.
    """
    started = epoch + (batches > 0)
    for progress in loops["epoch_progress"].values():
        progress.update(ready=started, started=started, processed=epoch, completed=epoch)
    batch_progress = loops["epoch_loop.batch_progress"]
    batch_progress["is_last_batch"] = validating
    for name in ("total", "current"):
        counters = batch_progress[name]
        counters.update(dict.fromkeys(counters, batches))
    validation = loops["epoch_loop.val_loop.batch_progress"]
    for name in ("total", "current"):
        validation[name].update(ready=int(validating), started=int(validating), processed=0, completed=0)


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
