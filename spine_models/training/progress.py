"""What a training shows while it runs: speed, waiting and memory. Nothing of it is a result."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from spine_models.log import say
from spine_models.pace import Pace

Row = dict[str, Any]


class Stopwatch:
    """Divides the time of an epoch's steps into waiting for data and working."""

    def __init__(self) -> None:
        """Start now."""
        self._mark: float | None = None
        self._waited = self._worked = 0.0
        self._samples = 0

    def data_came(self, samples: int) -> None:
        """End a wait for ``samples`` samples."""
        now = time.perf_counter()
        if self._mark is not None:
            self._waited += now - self._mark
        self._mark, self._samples = now, self._samples + samples

    def work_done(self) -> None:
        """End a piece of work."""
        now = time.perf_counter()
        self._worked += now - (self._mark if self._mark is not None else now)
        self._mark = now

    def take(self, processes: int) -> Row:
        """Return the epoch's figures (of this process; images/s of all) and start anew."""
        total = self._waited + self._worked
        figures: Row = {
            "images_per_second": round(processes * self._samples / total, 3) if total else None,
            "data_wait_share": round(self._waited / total, 4) if total else None,
            "training_seconds": round(total, 3),
        }
        self._mark, self._waited, self._worked, self._samples = None, 0.0, 0.0, 0
        return figures


class Board:
    """TensorBoard's file in a folder; it is opened when there is something to show."""

    def __init__(self, folder: Path) -> None:
        """Write into ``folder``."""
        self._folder = folder
        self._writer: Any = None

    def show(self, figures: Row) -> None:
        """Add one epoch's figures at its ``step``."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        for name, value in figures.items():
            if isinstance(value, int | float) and name not in ("epoch", "step"):
                self._writer.add_scalar(name, value, figures["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._writer is not None:
            self._writer.close()


class StepLines(pl.Callback):
    """Says in the log how far an epoch and its validation are."""

    def __init__(self) -> None:
        """Say nothing yet."""
        self._pace: Pace | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the batches of the epoch from now on."""
        self._pace = Pace(self._what(trainer, pl_module), int(trainer.num_training_batches), "batches")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say a line if one is due."""
        self._say(batch_idx + 1)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the held-out studies from now on."""
        total = int(sum(trainer.num_val_batches))
        self._pace = Pace(f"{self._what(trainer, pl_module)}, validation", total)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Say a line if one is due."""
        self._say(batch_idx + 1)

    def _say(self, done: int) -> None:
        line = self._pace.line(done) if self._pace else None
        if line:
            say(line)

    @staticmethod
    def _what(trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
        return f"{pl_module.stage}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


def memory_figures() -> Row:
    """Return the most memory that this process has held so far, in bytes."""
    memory: Row = {"memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if torch.cuda.is_available():
        memory["gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    return memory


def epoch_line(stage: str, epochs: int, row: Row, run: Row) -> str:
    """Return the line of the log for an epoch that ends."""
    figures = [f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float)]
    speed = f"{run['images_per_second']} images/s, {run['data_wait_share']} of the time waiting for data"
    return f"{stage}: epoch {row['epoch'] + 1}/{epochs}: {', '.join(figures)}; {speed}"
