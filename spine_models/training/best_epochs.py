"""The weights of the best epochs by validation metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from spine_models.errors import UserError
from spine_models.models.weights import save_model
from spine_models.provenance.canonical import digest_file
from spine_models.training.epoch_table import Epoch
from spine_models.training.stage_module import StageModule


class BestEpochs(Callback):
    """Writes the weights of an epoch that is among the best so far, and removes what falls out of the list.

    Among equal metrics the earlier epoch is better. The list is part of the training's state. Files are removed by
    ``prune``, after the state that no longer names them is safe.
    """

    def __init__(self, folder: Path, keep: int, provenance: Mapping[str, Any]) -> None:
        """Keep the best ``keep`` epochs in ``folder``; ``provenance`` goes into each file."""
        self.folder, self.keep, self.provenance = folder, keep, dict(provenance)
        self.best: list[Epoch] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the list for the state."""
        return {"best": [asdict(epoch) for epoch in self.best]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        self.best = [Epoch(**epoch) for epoch in state_dict["best"]]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch that ends, if it is good enough; only the first process writes."""
        assert isinstance(pl_module, StageModule)
        metric = pl_module.verdict[pl_module.metric]
        if metric is None:
            raise UserError(f"no held-out study has anything to judge {pl_module.metric} by: use other folds")
        epoch = Epoch(trainer.current_epoch, metric, f"epoch-{trainer.current_epoch:03d}.safetensors", "", {})
        sign = -1.0 if pl_module.larger_is_better else 1.0
        ranked = sorted([*self.best, epoch], key=lambda one: (sign * one.metric, one.epoch))[: self.keep]
        if epoch in ranked and trainer.is_global_zero:
            ranked[ranked.index(epoch)] = self._write(epoch, pl_module)
        self.best = ranked

    def prune(self, named: Collection[str]) -> None:
        """Remove the files of epochs that are no longer among the best, but for those that the state names."""
        kept = {epoch.file for epoch in self.best} | set(named)
        for path in self.folder.glob("epoch-*.safetensors"):
            if path.name not in kept:
                path.unlink()

    def _write(self, epoch: Epoch, module: StageModule) -> Epoch:
        path = self.folder / epoch.file
        provenance = self.provenance | {"epoch": epoch.epoch, module.metric: epoch.metric}
        save_model(path, module.network, provenance)
        return Epoch(epoch.epoch, epoch.metric, epoch.file, digest_file(path), module.verdict)
