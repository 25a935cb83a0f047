"""The weights of the best epochs by validation metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from spine_models.errors import UserError
from spine_models.evaluation.epochs import Epoch
from spine_models.models.weights import save_model
from spine_models.provenance.canonical import digest_file
from spine_models.training.kept_epoch import KeptEpoch, Verdict
from spine_models.training.stage_module import StageModule


class BestEpochs(Callback):
    """Writes the weights of an epoch that is among the best so far, and removes what falls out of the list.

    Among equal metrics the earlier epoch is better. The list is part of the training's state. Files are removed by
    ``prune``, after the state that no longer names them is safe.
    """

    def __init__(self, folder: Path, keep: int, provenance: Mapping[str, Any], kind: type[Verdict]) -> None:
        """Keep the best ``keep`` epochs in ``folder``.

        Args:
            folder: of their weights.
            keep: how many.
            provenance: goes into each file.
            kind: of what a validation finds.
        """
        self.folder, self.keep, self.provenance, self._kind = folder, keep, dict(provenance), kind
        self.best: list[KeptEpoch] = []

    @property
    def files(self) -> set[str]:
        """Names of the files of the best epochs."""
        return {epoch.row.file for epoch in self.best}

    def state_dict(self) -> dict[str, Any]:
        """Return the list for the state."""
        return {"best": [epoch.to_json() for epoch in self.best]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``."""
        self.best = [KeptEpoch.from_json(epoch, self._kind) for epoch in state_dict["best"]]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch that ends, if it is good enough; only the first process writes."""
        assert isinstance(pl_module, StageModule)
        verdict = pl_module.verdict
        if verdict is None or verdict.metric is None:
            raise UserError(f"no held-out study has anything to judge {pl_module.metric} by: use other folds")
        name = f"epoch-{trainer.current_epoch:03d}.safetensors"
        epoch = KeptEpoch(Epoch(trainer.current_epoch, verdict.metric, name, ""), verdict)
        sign = -1.0 if pl_module.larger_is_better else 1.0
        ranked = sorted([*self.best, epoch], key=lambda one: (sign * one.row.metric, one.row.epoch))[: self.keep]
        if epoch in ranked and trainer.is_global_zero:
            ranked[ranked.index(epoch)] = replace(epoch, row=self._write(epoch.row, pl_module))
        self.best = ranked

    def prune(self, named: Collection[str]) -> None:
        """Remove the files of epochs that are no longer among the best, but for those that the state names."""
        kept = self.files | set(named)
        for path in self.folder.glob("epoch-*.safetensors"):
            if path.name not in kept:
                path.unlink()

    def _write(self, epoch: Epoch, module: StageModule) -> Epoch:
        path = self.folder / epoch.file
        provenance = self.provenance | {"epoch": epoch.epoch, module.metric: epoch.metric}
        save_model(path, module.network, provenance)
        return replace(epoch, sha256=digest_file(path))
