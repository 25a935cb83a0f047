"""How the global batch is made up of micro-batches, processes and accumulation steps."""

from __future__ import annotations

from dataclasses import dataclass

from spine_models.errors import UserError


@dataclass(frozen=True)
class BatchPlan:
    """One step of the optimizer.

    Attributes:
        micro_batch: samples at once in one process.
        processes: processes (GPUs) of the job.
        accumulation: micro-batches whose gradients a process adds up before the step.
    """

    micro_batch: int
    processes: int
    accumulation: int

    @property
    def global_batch(self) -> int:
        """Samples that one step sees."""
        return self.micro_batch * self.processes * self.accumulation

    @property
    def statistics_batch(self) -> int:
        """Samples over which synchronised batch norm takes its statistics."""
        return self.micro_batch * self.processes


def plan_batches(stage: str, global_batch: int, micro_batch: int, processes: int) -> BatchPlan:
    """Split the global batch of ``stage`` so that the recipe is the same on any number of processes.

    Args:
        stage: "segmentation" or "classification", for the sentence of an error.
        global_batch: samples of a step.
        micro_batch: samples at once in one process.
        processes: GPUs, or 1 on the CPU.

    Raises:
        UserError: if the global batch is not a multiple of micro-batch times processes.
    """
    together = micro_batch * processes
    if micro_batch < 1 or processes < 1 or global_batch < 1 or global_batch % together:
        raise UserError(
            f"{stage}.training.global_batch {global_batch} is not a multiple of micro_batch {micro_batch} times "
            f"{processes} GPUs or processes: choose {stage}.training.micro_batch or gpus so that it is"
        )
    return BatchPlan(micro_batch, processes, global_batch // together)
