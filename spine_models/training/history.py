"""What a training says while it runs, and the table that it leaves."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from spine_models.log import say
from spine_models.provenance.files import write_json, write_text
from spine_models.training.progress import Board, Row, Stopwatch, epoch_line, memory_figures
from spine_models.training.stage_module import StageModule

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
        self._board = Board(folder / "tensorboard")
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
        assert isinstance(pl_module, StageModule) and pl_module.verdict is not None
        row: Row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "learning_rate": pl_module.last_rate(),
            **pl_module.take_means(),
            pl_module.metric: pl_module.verdict.metric,
            "skipped_steps": pl_module.skipped,
        }
        run = {"epoch": trainer.current_epoch, **self._clock.take(trainer.world_size), **memory_figures()}
        self.rows.append(row)
        self.runs.append(run)
        if trainer.is_global_zero:
            self.write()
            self._board.show({**row, **run})
            say(epoch_line(pl_module.stage, trainer.max_epochs or 0, row, run))

    def write(self) -> None:
        """Write both tables."""
        write_text(self.folder / "history.csv", table(self.rows))
        write_json(self.folder / "history.run.json", self.runs)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close TensorBoard's file."""
        self._board.close()


def table(rows: list[Row]) -> str:
    """Return ``history.csv``: one row an epoch, the columns in one order, numbers as Python writes them."""
    names = [name for name in _FIRST if any(name in row for row in rows)]
    names += sorted({name for row in rows for name in row} - set(names))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
