"""What a training says while it runs, and the table that it leaves."""

from __future__ import annotations

import csv
import io
import resource
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from spine_models.log import say
from spine_models.provenance.files import write_json, write_text
from spine_models.training.stage_module import StageModule

Row = dict[str, Any]
_FIRST = ("epoch", "step", "learning_rate", "loss")


class History(Callback):
    """One row an epoch: rate, losses, metric; and beside it what no two runs share (speed, waiting, memory).

    ``history.csv`` is a result and equal for equal runs; ``history.run.json`` and TensorBoard hold the rest.
    """

    def __init__(self, folder: Path) -> None:
        """Write into ``folder``."""
        self.folder = folder
        self.rows: list[Row] = []
        self.runs: list[Row] = []
        self._board: Any = None
        self._clock = Stopwatch()

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far for the state."""
        return {"rows": self.rows, "runs": self.runs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        self.rows, self.runs = state_dict["rows"], state_dict["runs"]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        """Note that the data are there."""
        self._clock.data_came(len(batch[0]))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that the arithmetic is done."""
        self._clock.work_done()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row and tell it."""
        assert isinstance(pl_module, StageModule)
        row: Row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "learning_rate": pl_module.last_rate(),
            **pl_module.take_means(),
            **{name: value for name, value in pl_module.verdict.items() if isinstance(value, float)},
            "skipped_steps": pl_module.skipped,
        }
        run = {"epoch": trainer.current_epoch, **self._clock.take(trainer.world_size), **_memory()}
        self.rows.append(row)
        self.runs.append(run)
        if trainer.is_global_zero:
            write_text(self.folder / "history.csv", table(self.rows))
            write_json(self.folder / "history.run.json", self.runs)
            self._to_board(row, run)
            say(_line(pl_module.stage, trainer.max_epochs or 0, row, run))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _to_board(self, row: Row, run: Row) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / "tensorboard"))
        for name, value in {**row, **run}.items():
            if isinstance(value, int | float) and name not in ("epoch", "step"):
                self._board.add_scalar(name, value, row["step"])
        self._board.flush()


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


def table(rows: list[Row]) -> str:
    """Return ``history.csv``: one row an epoch, the columns in one order, numbers as Python writes them."""
    names = [name for name in _FIRST if any(name in row for row in rows)]
    names += sorted({name for row in rows for name in row} - set(names))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _memory() -> Row:
    memory: Row = {"memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if torch.cuda.is_available():
        memory["gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    return memory


def _line(stage: str, epochs: int, row: Row, run: Row) -> str:
    figures = [f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float)]
    speed = f"{run['images_per_second']} images/s, {run['data_wait_share']} of the time waiting for data"
    return f"{stage}: epoch {row['epoch'] + 1}/{epochs}: {', '.join(figures)}; {speed}\n"
