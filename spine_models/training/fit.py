"""The one place that builds the Trainer and runs a training in one process of a job."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy, Strategy

from spine_models.compute.devices import Compute
from spine_models.compute.facts import cudnn_version, slow_cudnn
from spine_models.compute.layout import arrange
from spine_models.compute.out_of_memory import memory_advice
from spine_models.compute.precision import allow_tf32, autocast_type, choose_precision
from spine_models.log import say
from spine_models.models.batch_norm import synchronise
from spine_models.models.pretrained import PretrainedReport
from spine_models.provenance.files import write_json
from spine_models.training.batching import BatchPlan, plan_batches
from spine_models.training.best_epochs import BestEpochs
from spine_models.training.history import History
from spine_models.training.initial_weights import InitialWeights
from spine_models.training.kept_epoch import KeptEpoch, Verdict
from spine_models.training.loaders import (
    EpochBatches,
    Samples,
    Studies,
    require_shared_memory,
    shared_memory,
    training_loader,
    validation_loader,
    worker_advice,
)
from spine_models.training.progress import StepLines
from spine_models.training.ranks import Place
from spine_models.training.recipe import Recipe
from spine_models.training.stage_module import StageModule
from spine_models.training.state_file import StateFile, StateKeeper

OUTCOME = "outcome.json"
EPOCHS = "epochs"


@dataclass(frozen=True)
class FitSettings:
    """What a training needs besides its recipe.

    Attributes:
        seed: of weights, order and dropout.
        workers: processes that load samples, for each process that trains.
        checkpoint_minutes: longest time between two states.
        keep_best: epochs whose weights are kept.
        provenance: what goes into every file of weights.
    """

    seed: int
    workers: int
    checkpoint_minutes: float
    keep_best: int
    provenance: Mapping[str, Any]


class Task(Protocol):
    """What a stage trains; it is sent to every process of the job, so it holds only paths and settings."""

    @property
    def stage(self) -> str:
        """Section of the configuration."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Settings of the training."""
        ...

    def digests(self) -> dict[str, str]:
        """Return the digest of the content of each input."""
        ...

    def initial(self) -> InitialWeights | None:
        """Return the weights of a bundle that the training starts from; None without a bundle."""
        ...

    def training_studies(self) -> tuple[str, ...]:
        """Return the studies and the patient groups that the weights learn from."""
        ...

    def further(self) -> dict[str, Any]:
        """Return configuration outside of the recipe that the weights depend on, as JSON values."""
        ...

    def samples(self, seed: int) -> Samples:
        """Return the draws of the training."""
        ...

    def held_out(self) -> Studies:
        """Return the studies of the validation."""
        ...

    def module(self, plan: BatchPlan, steps: int) -> StageModule:
        """Build the module for a training of ``steps`` optimizer steps."""
        ...

    @property
    def verdict(self) -> type[Verdict]:
        """What a validation finds."""
        ...

    def collect(self, folder: Path, best: list[KeptEpoch], result: Path) -> None:
        """Copy from the state in ``folder`` to ``result`` what is published besides the history; best epoch first."""
        ...


def fit(place: Place, task: Task, settings: FitSettings, folder: Path) -> None:
    """Train in this process until the last epoch, going on from the state in ``folder`` if there is one.

    Rank 0 leaves in ``folder``: ``epochs/`` with the best weights, ``history.csv``, ``history.run.json`` and
    ``outcome.json`` (the best epochs with the facts of their validation, and facts about the run: resumes, skipped
    steps, what became of the published weights).

    Raises:
        UserError: if memory or ``max_skipped_steps`` runs out, or the batch does not fit the data.
    """
    compute, stage, recipe = place.compute, task.stage, task.recipe
    _quieten()
    plan = plan_batches(stage, recipe.global_batch, recipe.micro_batch, compute.processes)
    samples = task.samples(settings.seed)
    batches = EpochBatches(len(samples), plan, place.rank, settings.seed)
    held_out = task.held_out()
    if place.rank == 0 and settings.workers:
        need = shared_memory(samples, recipe.micro_batch, held_out, compute.processes, settings.workers)
        require_shared_memory(stage, need, compute.processes * settings.workers)
    torch.manual_seed(settings.seed)
    module = task.module(plan, recipe.epochs * batches.steps)
    if module.pretrained is not None and place.rank == 0:
        say(f"{stage}: {module.pretrained.sentence()}")
    if compute.kind == "cpu":
        arrange(module.network, compute.device)
    if compute.processes > 1:
        synchronise(module.network)
    # Every process drops other features.
    torch.manual_seed(settings.seed * 1009 + place.rank + 1)
    best = BestEpochs(folder / EPOCHS, settings.keep_best, settings.provenance, task.verdict)
    history = History(folder)
    keeper = StateKeeper(folder, settings.checkpoint_minutes, batches, len(held_out), best)
    callbacks = [best, history, *_bar(place), keeper]
    chosen = choose_precision(recipe.precision, compute.kind)
    allow_tf32(chosen)
    warning = slow_cudnn(cudnn_version(), chosen) if compute.kind == "cuda" else None
    if warning is not None and place.rank == 0:
        say(warning)
    trainer = build_trainer(compute, recipe, plan, callbacks)
    smaller = (
        f"lower {stage}.training.micro_batch ({recipe.micro_batch} now; global_batch and the results stay) or set "
        f"{stage}.training.activation_checkpointing: true"
    )
    with memory_advice(smaller), worker_advice(stage, settings.workers):
        trainer.fit(
            module,
            training_loader(samples, batches, settings.workers, pin=compute.kind == "cuda"),
            validation_loader(held_out, place.rank, compute.processes, settings.workers),
            ckpt_path=keeper.path if keeper.path.exists() else None,
            weights_only=True,
        )
    if place.rank == 0:
        # Also where the last epoch ended in an earlier process: what was written then has been out of hand since.
        history.write()
        facts = {"resumes": keeper.resumes, "skipped_steps": module.skipped, "pretrained": _listed(module.pretrained)}
        write_json(folder / OUTCOME, {"best": [epoch.to_json() for epoch in best.best], "facts": facts})


def build_trainer(compute: Compute, recipe: Recipe, plan: BatchPlan, callbacks: list[Callback]) -> pl.Trainer:
    """Return a Trainer that does what the recipe says and nothing on its own account.

    No sanity run of the validation, no checkpoints or logs of its own, no look at the variables of a scheduler.
    """
    return pl.Trainer(
        accelerator="gpu" if compute.kind == "cuda" else "cpu",
        devices=compute.processes,
        strategy=_strategy(compute, precision_plugin(recipe.precision, compute.kind)),
        # Without the first Lightning would take a scheduler's variables for its own: tasks, ranks, requeues on signals.
        plugins=[LightningEnvironment(), StateFile()],
        max_epochs=recipe.epochs,
        accumulate_grad_batches=plan.accumulation,
        callbacks=callbacks,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(callback, TQDMProgressBar) for callback in callbacks),
    )


def precision_plugin(precision: str, kind: str) -> Precision:
    """Return Lightning's plugin for a precision of the configuration; fp16 comes with a gradient scaler."""
    chosen = choose_precision(precision, kind)
    if autocast_type(chosen) is None:
        return Precision()
    return MixedPrecision("bf16-mixed" if chosen == "bf16" else "16-mixed", device=kind)


def _strategy(compute: Compute, precision: Precision) -> Strategy:
    if compute.processes == 1:
        return SingleDeviceStrategy(device=compute.device, precision_plugin=precision)
    return DDPStrategy(
        process_group_backend="nccl" if compute.kind == "cuda" else "gloo",
        precision_plugin=precision,
        # Synchronised batch norm keeps buffers equal; a broadcast in the forward pass would wait for processes that
        # have fewer held-out studies.
        forward_sync_buffers=False,
    )


def _listed(report: PretrainedReport | None) -> dict[str, Any] | None:
    return None if report is None else asdict(report)


def _bar(place: Place) -> list[Callback]:
    """Return a progress bar for a terminal, lines for a log; that of an epoch's end is from ``History``."""
    if place.rank != 0:
        return []
    return [TQDMProgressBar(refresh_rate=1) if sys.stdout.isatty() else StepLines()]


def _quieten() -> None:
    """Silence advice that does not hold here: the loaders are resumable, workers are the configuration's affair."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for text in (
        "does not have many workers",
        "is not resumable",
        "smaller than the logging interval",
        "`srun` command",
    ):
        warnings.filterwarnings("ignore", f".*{text}.*")
    warnings.filterwarnings("ignore", module="pytorch_lightning.utilities._pytree")
    warnings.filterwarnings("ignore", ".*torch.distributed.nn.functional.all_reduce is deprecated.*")
    warnings.filterwarnings("ignore", ".*Grad strides do not match bucket view strides.*")
    warnings.filterwarnings("ignore", ".*lr_scheduler.step.*before.*optimizer.step.*")
    warnings.filterwarnings("ignore", ".*Found .* module.* in eval mode.*")
