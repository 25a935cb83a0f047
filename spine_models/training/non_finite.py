"""What is not finite: steps are skipped without a trace, counted, and in the end refused; a validation is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from spine_models.errors import UserError
from spine_models.models.batch_norm import batch_norms


class StepGuard:
    """Remembers what a step must not change if it turns out non-finite, and which studies it saw.

    A non-finite activation reaches the running statistics of batch norm in the forward pass already; they are put
    back, so that a skipped step leaves the network as it was.
    """

    def __init__(self, network: nn.Module) -> None:
        """Watch the trained batch norms of ``network``."""
        self._network = network
        self._saved: list[torch.Tensor] = []
        self.studies: list[str] = []
        self.bad: torch.Tensor | None = None

    def begin(self) -> None:
        """Start a step: remember the statistics."""
        self._saved = [buffer.clone() for buffer in self._buffers()]
        self.studies, self.bad = [], None

    def note(self, loss: torch.Tensor, studies: Iterable[str]) -> None:
        """Note one micro-batch of the step; nothing waits for the device here."""
        bad = ~torch.isfinite(loss.detach())
        self.bad = bad if self.bad is None else self.bad | bad
        self.studies += studies

    def undo(self) -> None:
        """Put the statistics back."""
        for buffer, saved in zip(self._buffers(), self._saved, strict=True):
            buffer.copy_(saved)

    def _buffers(self) -> list[torch.Tensor]:
        trained = [norm for norm in batch_norms(self._network) if norm.training]
        return [buffer for norm in trained for buffer in norm.buffers()]


def skipped_step_error(stage: str, counts: tuple[int, int], step: int, studies: Sequence[str], good: str) -> UserError:
    """Return the error that stops a training with too many skipped steps.

    Args:
        stage: section of the configuration.
        counts: steps skipped so far, this one included, and ``max_skipped_steps``.
        step: number of this step, from 1.
        studies: those of this step, over all processes.
        good: the last good checkpoint, or what to say where there is none.
    """
    return UserError(
        f"the loss or gradient of step {step} is not finite (skipped steps: {counts[0]}, "
        f"{stage}.training.max_skipped_steps: {counts[1]}); studies in the batch: {', '.join(sorted(set(studies)))}; "
        f"last good checkpoint: {good}; "
        f"look at these studies, or set {stage}.training.precision to bf16 or fp32 or lower "
        f"{stage}.training.learning_rate"
    )


def held_out_error(stage: str, study: str, steps: int, good: str) -> UserError:
    """Return the error that stops a training whose network gives no finite output for a held-out study.

    Args:
        stage: section of the configuration.
        study: the held-out one.
        steps: optimizer steps that were made.
        good: the last good checkpoint, or what to say where there is none.
    """
    return UserError(
        f"after step {steps} the network's output for the held-out study {study} is not finite; last good checkpoint: "
        f"{good}; set {stage}.training.precision to bf16 or fp32 or lower "
        f"{stage}.training.learning_rate"
    )
