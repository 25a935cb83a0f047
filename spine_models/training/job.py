"""One training from the first look at its state to the published result."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spine_models.compute.devices import Compute
from spine_models.compute.facts import run_facts
from spine_models.compute.precision import Precision, choose_precision
from spine_models.data.dataset.study_tokens import PARTLY_UNKNOWN, TRAINING_STUDIES, study_tokens
from spine_models.log import say
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.files import read_json, write_json
from spine_models.provenance.keys import Key
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.records import Record, Work
from spine_models.training.batching import BatchPlan, plan_batches
from spine_models.training.fit import EPOCHS, OUTCOME, FitSettings, Task, fit
from spine_models.training.kept_epoch import KeptEpoch
from spine_models.training.ranks import run_ranks
from spine_models.training.recipe import Recipe
from spine_models.training.state import State, open_state

_PACKAGES = ("torch", "pytorch-lightning", "numpy", "albumentations", "mmaction2")
_FEW_SAMPLES = 4
"""Batch norm over fewer samples is warned about; 4 is what a GPU of the published segmentation sees."""
_NO_PART_OF_THE_KEY = ("micro_batch", "activation_checkpointing")
"""Keys of a recipe that decide how fast it runs and in what memory: another value continues the same state."""


@dataclass(frozen=True)
class Job:
    """What a training is, apart from its data.

    Attributes:
        stage: name of the rule.
        title: names the model: stage, fold, variant.
        seed: of weights, order, samples and dropout.
        workers: processes that load samples, for each process that trains.
        checkpoint_minutes: longest time between two states.
        keep_best: epochs whose weights are kept.
        code: fingerprint of the code.
        state: folder of all states of this training.
        out: folder of the published files.
    """

    stage: str
    title: Mapping[str, Any]
    seed: int
    workers: int
    checkpoint_minutes: float
    keep_best: int
    code: str
    state: Path
    out: Path


def run_job(job: Job, task: Task, compute: Compute) -> None:
    """Find the finished result, or train (on) and make it; then publish it.

    Args:
        job: seed, state, output folder.
        task: what is trained, and with what.
        compute: what this job computes on.

    Raises:
        UserError: if the data or the configuration cannot be used, or another process trains in this state.
    """
    recipe = task.recipe
    plan = plan_batches(task.stage, recipe.global_batch, recipe.micro_batch, compute.processes)
    _warn_of_small_statistics(task.stage, recipe, plan)
    _warn_of_unknown_studies(task)
    key = Key(job.stage, task.digests(), key_config(job, task, plan, compute), job.code)
    started, work = time.time(), Work(job.stage, "trainings")
    precision = choose_precision(recipe.precision, compute.kind)
    with folder_lock(job.state):
        state = open_state(job.state, key)
        found = state.finished()
        if found is not None:
            say(f"{job.out}: finished before under the same configuration, code and inputs; copied")

        def train() -> Record:
            provenance = _provenance(job, task, key, precision)
            settings = FitSettings(job.seed, job.workers, job.checkpoint_minutes, job.keep_best, provenance)
            state.clear_damaged()
            run_ranks(fit, compute, task, settings, state.folder)
            damaged = _damaged_epoch(state, task)
            if damaged is not None:
                # Its weights were written before the checkpoint that names them: nothing else holds them.
                state.clear(f"{damaged} differs from its digest in the state")
                run_ranks(fit, compute, task, settings, state.folder)
            return _finish(state, task)

        work.count(found, train)
        state.publish(job.out)
        how = run_facts(compute.kind, precision) | {"processes": compute.processes, "found_finished": found is not None}
        _write_run_facts(job, state, how, started)
    work.say()


def key_config(job: Job, task: Task, plan: BatchPlan, compute: Compute) -> dict[str, Any]:
    """Return the configuration that the weights depend on.

    How the global batch is split does not belong to it, but for the samples that batch norm takes its statistics
    over, where it is trained; and the threads of torch, which give other bits on the CPU.
    """
    recipe = task.recipe
    values = {name: value for name, value in asdict(recipe).items() if name not in _NO_PART_OF_THE_KEY}
    return {
        **values,
        **task.further(),
        **job.title,
        "seed": job.seed,
        "keep_best": job.keep_best,
        "batch_norm_over": None if recipe.freeze_bn else plan.statistics_batch,
        "math_threads": compute.math_threads if compute.kind == "cpu" else None,
    }


def _warn_of_small_statistics(stage: str, recipe: Recipe, plan: BatchPlan) -> None:
    if not recipe.freeze_bn and plan.statistics_batch < _FEW_SAMPLES:
        say(
            f"{stage}: batch norm takes its statistics over {plan.statistics_batch} samples (micro_batch x GPUs), "
            "which makes them noisy: raise micro_batch, or set freeze_bn: true to keep those of the published weights"
        )


def _warn_of_unknown_studies(task: Task) -> None:
    initial = task.initial()
    if initial is not None and not initial.says_all:
        say(
            f"{initial.path} does not name every study that it learnt from: if the held-out studies are among "
            "them, the figures of this training are too good"
        )


def _provenance(job: Job, task: Task, key: Key, precision: Precision) -> dict[str, Any]:
    initial = task.initial()
    tokens = set(study_tokens(task.training_studies())) | (initial.tokens if initial else frozenset())
    return {
        **job.title,
        **key.parts(),
        "key": key.digest,
        TRAINING_STUDIES: sorted(tokens),
        **({PARTLY_UNKNOWN: True} if initial and not initial.says_all else {}),
        "precision": precision,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _best(state: State, task: Task) -> list[KeptEpoch]:
    return [KeptEpoch.from_json(epoch, task.verdict) for epoch in read_json(state.folder / OUTCOME)["best"]]


def _damaged_epoch(state: State, task: Task) -> Path | None:
    """Return the first of the best epochs' files that is not what was written; None if all are."""
    for epoch in _best(state, task):
        path = state.folder / EPOCHS / epoch.row.file
        if not path.is_file() or digest_file(path) != epoch.row.sha256:
            return path
    return None


def _finish(state: State, task: Task) -> Record:
    shutil.rmtree(state.result, ignore_errors=True)
    state.result.mkdir()
    for name in ("history.csv", "history.run.json"):
        shutil.copyfile(state.folder / name, state.result / name)
    task.collect(state.folder, _best(state, task), state.result)
    return state.finish(read_json(state.folder / OUTCOME)["facts"])


def _write_run_facts(job: Job, state: State, how: Mapping[str, Any], started: float) -> None:
    record = state.finished()
    assert record is not None
    facts = {
        "host": socket.gethostname(),
        "started": started,
        "seconds": round(time.time() - started, 3),
        **how,
        "state": str(state.folder),
        **record.facts,
    }
    write_json(job.out / "training.run.json", facts)
