"""What the two LightningModules share: optimizer, skipped steps, running means, the gathered validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import distributed

from spine_models.compute.inference_network import InferenceNetwork, NonFiniteOutputError
from spine_models.compute.layout import arrange
from spine_models.models.network import Network
from spine_models.models.pretrained import PretrainedReport
from spine_models.training.batching import BatchPlan
from spine_models.training.kept_epoch import Verdict
from spine_models.training.non_finite import StepGuard, held_out_error, skipped_step_error
from spine_models.training.optimizer import build_optimizer, cosine_rate, cosine_schedule
from spine_models.training.recipe import Recipe

Sums = dict[str, float]
_COUNT = "/count"
_LARGEST = "/largest"


class StageModule(pl.LightningModule, ABC):
    """A network in training.

    Attributes:
        stage: section of the configuration, for sentences.
        metric: name of the validation metric.
        larger_is_better: direction of the metric.
        network: what is trained; ``models.weights`` can save it.
        skipped: steps skipped so far for a loss or gradient that was not finite.
        verdict: what the last validation found, the same in every process; None before the first.
        good_checkpoint: where the last state is, for the sentence of an error.
        pretrained: what became of the published weights; None for a training from scratch.
        asks_for_state: whether this process would have the state written behind the step.
        state_is_due: whether rank 0 asked for that in the last step, the same in every process.
        assessed: what ``assess`` found in this process's held-out studies so far, by study.
        inference: during a validation, the copy of the network that predicts the held-out studies.
    """

    stage: str
    metric: str
    pretrained: PretrainedReport | None = None
    larger_is_better: bool
    inference: InferenceNetwork | None = None
    # A process may hold no held-out study of a small fold.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(self, network: Network, recipe: Recipe, plan: BatchPlan, steps: int) -> None:
        """Take a freshly built network.

        Args:
            network: what is trained.
            recipe: rates, clip, limits.
            plan: how a step is made up.
            steps: optimizer steps of the whole training.
        """
        super().__init__()
        self.network, self.recipe, self.plan, self.steps = network, recipe, plan, steps
        self.skipped = 0
        self.asks_for_state: Callable[[], bool] = _never
        self.state_is_due = False
        self.verdict: Verdict | None = None
        self.good_checkpoint = "none was written yet"
        self._guard = StepGuard(network)
        self._sums: dict[str, torch.Tensor] = {}
        self.assessed: dict[str, Any] = {}

    @abstractmethod
    def images(self, sample: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what the network sees, (N, C, Z, Y, X), on the device of ``sample``.

        Args:
            sample: what the draws of a micro-batch hold beside targets and studies, field by field.
        """

    @abstractmethod
    def losses(self, image: torch.Tensor, target: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Return the losses of a micro-batch, float32 scalars; the one named "loss" is minimised."""

    @abstractmethod
    def assess(self, item: Any, network: InferenceNetwork) -> Any:
        """Return what the metric needs of a held-out study (JSON values), predicted by ``network``.

        Raises:
            NonFiniteOutputError: if the network's output is not finite.
        """

    @abstractmethod
    def judge(self, results: dict[str, Any]) -> Verdict:
        """Return the metric, and further facts, from every study's ``assess``."""

    def configure_optimizers(self) -> Any:
        """Return AdamW and its cosine schedule, advanced every step."""
        recipe = self.recipe
        optimizer = build_optimizer(self.network, recipe.learning_rate, recipe.weight_decay)
        schedule = cosine_schedule(optimizer, self.steps, recipe.learning_rate, recipe.final_learning_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let the guard remember the statistics before the first micro-batch of a step."""
        if batch_idx % self.plan.accumulation == 0:
            self._guard.begin()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the loss of a micro-batch (samples, targets, studies)."""
        sample, target, studies = batch
        losses = self.losses(arrange(self.images(sample), self.device), target)
        self._guard.note(losses["loss"], studies)
        for name, value in losses.items():
            self._add(name, value.detach())
        return losses["loss"]

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip the gradient's norm; drop the whole step where it or the loss is not finite.

        Without gradients the optimizer leaves weights, moments and its own step counts untouched.
        """
        trained = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.recipe.gradient_clip)
        bad = self._guard.bad if self._guard.bad is not None else torch.zeros((), dtype=torch.bool, device=norm.device)
        if self._counts_gradients():
            bad = bad | ~torch.isfinite(norm)
        if self._agree(bad):
            self._skip(optimizer)
        else:
            # An overflow that the scaler answers by halving its scale has an infinite norm and is not a defect.
            self._add("gradient_norm", norm)

    def on_validation_epoch_start(self) -> None:
        """Copy the network as it is now, the way that predicts new studies too."""
        self.inference = InferenceNetwork(self.network, self.device, self.recipe.precision)

    def validation_step(self, item: Any, batch_idx: int) -> None:
        """Assess one held-out study, unless that was done before the training was interrupted.

        Raises:
            UserError: if the output is not finite, with the study, the step and the last good checkpoint.
        """
        assert self.inference is not None
        if item.study in self.assessed:
            return
        try:
            self.assessed[item.study] = self.assess(item, self.inference)
        except NonFiniteOutputError:
            raise held_out_error(self.stage, item.study, self.global_step, self.good_checkpoint) from None

    def on_validation_epoch_end(self) -> None:
        """Gather the studies of all processes and judge them, each once."""
        parts = gather(self.assessed)
        self.assessed, self.inference = {}, None
        results = {study: result for part in parts for study, result in part.items()}
        if len(results) != sum(len(part) for part in parts):
            raise RuntimeError("a study was validated twice")
        self.verdict = self.judge({study: results[study] for study in sorted(results)})

    def take_means(self) -> dict[str, float]:
        """Return the means of the epoch's losses over all processes and start anew; call it in every process."""
        sums = merge_sums(gather(self.running_sums()))
        self._sums = {}
        means = {
            name: sums[name] / sums[name + _COUNT] for name in sums if name + _COUNT in sums and sums[name + _COUNT]
        }
        return means | {name.removesuffix(_LARGEST): sums[name] for name in sums if name.endswith(_LARGEST)}

    def last_rate(self) -> float:
        """Return the learning rate of the last step."""
        recipe = self.recipe
        return cosine_rate(self.global_step - 1, self.steps, recipe.learning_rate, recipe.final_learning_rate)

    def running_sums(self) -> Sums:
        """Return this process's sums of the current epoch, for the state."""
        return {name: float(value) for name, value in self._sums.items()}

    def restore_sums(self, sums: Sums) -> None:
        """Continue from ``running_sums``."""
        self._sums = {
            name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in sums.items()
        }

    def keep_largest(self, name: str, value: torch.Tensor) -> None:
        """Note a figure of which ``take_means`` returns the largest of the epoch."""
        key = name + _LARGEST
        self._sums[key] = torch.maximum(self._sums[key], value.double()) if key in self._sums else value.double()

    def _add(self, name: str, value: torch.Tensor) -> None:
        finite = torch.isfinite(value)
        for key, part in ((name, value.double().where(finite, 0.0)), (name + _COUNT, finite.double())):
            self._sums[key] = self._sums[key] + part if key in self._sums else part

    def _counts_gradients(self) -> bool:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return scaler is None or scaler.get_scale() <= 1.0

    def _agree(self, bad: torch.Tensor) -> bool:
        """Return whether the step is bad in any process, and let all know whether rank 0 wants its state written.

        One reduction and one look at the device for both: each look waits for the step to end.
        """
        due = self.asks_for_state()
        if distributed.is_initialized():
            flags = torch.stack([bad, torch.full_like(bad, due and distributed.get_rank() == 0)]).to(torch.float32)
            distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
            anywhere, self.state_is_due = (bool(flag) for flag in flags.tolist())
            return anywhere
        self.state_is_due = due
        return bool(bad.item())

    def _skip(self, optimizer: Any) -> None:
        self._guard.undo()
        optimizer.zero_grad(set_to_none=True)
        self.skipped += 1
        studies = [study for part in gather(self._guard.studies) for study in part]
        counts = self.skipped, self.recipe.max_skipped_steps
        if counts[0] > counts[1]:
            raise skipped_step_error(self.stage, counts, self.global_step + 1, studies, self.good_checkpoint)


def _never() -> bool:
    return False


def gather(value: Any) -> list[Any]:
    """Return ``value`` of every process, in the order of their ranks."""
    if not distributed.is_initialized():
        return [value]
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, value)
    return parts


def merge_sums(parts: list[Sums]) -> Sums:
    """Return the running sums of several processes as those of one."""
    merged: Sums = {}
    for part in parts:
        for name, value in part.items():
            known = merged.get(name, 0.0)
            merged[name] = max(known, value) if name.endswith(_LARGEST) else known + value
    return merged
