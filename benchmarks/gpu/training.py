"""Real trainings of the tiny preset: bf16 and fp16 killed and resumed, a NaN injected, memory made to run out."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import tiny_data
from benchmarks.gpu.bench import Bench, error
from benchmarks.tiny_training import PoisonedTask, classification_task, die_when, make_job, segmentation_task
from spine_models.compute.devices import use_device
from spine_models.errors import UserError
from spine_models.models.weights import load_state
from spine_models.provenance.files import read_json
from spine_models.training.job import run_job
from spine_models.training.stage_module import StageModule

KILLED = -signal.SIGKILL
# CUDA cannot be used in a fork of a process that has used it: this one never does.
_FORK = multiprocessing.get_context("fork")


def measure(bench: Bench) -> None:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Threads of OpenMP do not outlive a fork.
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="spine_models-gpu-"))
    try:
        tiny_data.write_segmentation_data(root)
        tiny_data.write_classification_data(root)
        for precision in ("bf16", "fp16"):
            classification = classification_task(root, precision=precision)
            _killed_and_resumed(bench, f"classification {precision}", classification, root / precision)
        _segmentation(bench, root)
        _poisoned(bench, root)
        _out_of_memory(bench, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _killed_and_resumed(bench: Bench, name: str, task: Any, folder: Path) -> None:
    """Compare a training that was killed in its fourth step and resumed with one that nothing interrupted."""
    with _case(bench, f"{name} killed and resumed") as facts:
        for place in ("calm", "again"):
            assert _run(bench, task, folder / place) == 0, "the undisturbed training failed"
        prepare = die_when(StageModule, "training_step", 8)
        facts["killed_status"] = _run(bench, task, folder / "killed", prepare)
        assert _run(bench, task, folder / "killed") == 0, "the resumed training failed"
        calm, again, resumed = (_weights(folder / place / "out") for place in ("calm", "again", "killed"))
        how = read_json(folder / "killed" / "out" / "training.run.json")
        facts |= {
            "device": how["device"],
            "resumes": len(how["resumes"]),
            "difference": error(resumed, calm),
            # Sums on CUDA come in another order each time, and batch norm over two samples makes much of it.
            "difference_of_two_undisturbed": error(again, calm),
        }
        done = facts["killed_status"] == KILLED and len(how["resumes"]) == 1 and how["device"] == bench.kind
        facts["ok"] = done and facts["difference"] <= 3.0 * facts["difference_of_two_undisturbed"] + 1e-4


def _segmentation(bench: Bench, root: Path) -> None:
    with _case(bench, "segmentation bf16") as facts:
        folder = root / "segmentation"
        assert _run(bench, segmentation_task(root, precision="bf16"), folder) == 0, "the training failed"
        facts["dice_mean"] = read_json(folder / "out" / "metrics.json")["dice_mean"]
        facts["ok"] = True


def _poisoned(bench: Bench, root: Path) -> None:
    """One poisoned step of six is skipped and counted; two with a limit of one stop the training with a sentence."""
    for precision in ("bf16", "fp16"):
        task = PoisonedTask(**vars(classification_task(root, precision=precision)), steps=(1,))
        with _case(bench, f"a NaN in one step {precision}") as facts:
            folder = root / f"poisoned-{precision}"
            assert _run(bench, task, folder) == 0, "the training failed"
            facts["skipped_steps"] = read_json(folder / "out" / "training.run.json")["skipped_steps"]
            facts["ok"] = facts["skipped_steps"] == 1
    recipe = dataclasses.replace(classification_task(root, precision="bf16").recipe, max_skipped_steps=1)
    task = PoisonedTask(**vars(classification_task(root)) | {"recipe": recipe}, steps=(1, 2))
    with _case(bench, "a NaN in two steps, one allowed") as facts:
        facts["sentence"] = _sentence(bench, task, root / "stopped")
        facts["ok"] = "max_skipped_steps" in facts["sentence"]


def _out_of_memory(bench: Bench, root: Path) -> None:
    if not bench.real:
        return
    with _case(bench, "out of memory") as facts:
        prepare = lambda: torch.cuda.set_per_process_memory_fraction(1e-4)  # noqa: E731
        facts["sentence"] = _sentence(bench, classification_task(root, precision="bf16"), root / "memory", prepare)
        facts["ok"] = "micro_batch" in facts["sentence"]


class _case:  # noqa: N801
    """As ``Bench.case``, which would touch CUDA, but with the time that it took."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name, self.facts = bench, name, dict[str, Any]()

    def __enter__(self) -> dict[str, Any]:
        self.started = time.monotonic()
        return self.facts

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        if isinstance(value, Exception):
            traceback.print_exception(value)
            self.facts |= {"ok": False, "why": f"{type(value).__name__}: {value}"}
        self.bench.row(self.name, **self.facts, seconds=time.monotonic() - self.started)
        return not isinstance(value, BaseException) or isinstance(value, Exception)


def _run(bench: Bench, task: Any, folder: Path, prepare: Callable[[], None] | None = None) -> int:
    """Train in a child and return its exit status, negative for a signal; a sentence of its goes to a file."""
    process = _FORK.Process(target=_train, args=(bench.kind, task, folder, prepare))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _sentence(bench: Bench, task: Any, folder: Path, prepare: Callable[[], None] | None = None) -> str:
    status = _run(bench, task, folder, prepare)
    path = folder / "sentence.txt"
    return path.read_text(encoding="utf-8") if path.exists() else f"no sentence, status {status}"


def _train(kind: str, task: Any, folder: Path, prepare: Callable[[], None] | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    compute = use_device(kind, int(kind == "cuda"), 1)
    if prepare is not None:
        prepare()
    try:
        # A state at every step.
        run_job(make_job(folder, checkpoint_minutes=0.0, workers=2), task, compute)
    except UserError as sentence:
        (folder / "sentence.txt").write_text(str(sentence), encoding="utf-8")
        sys.exit(3)


def _weights(out: Path) -> torch.Tensor:
    """Return the best epoch's weights as one vector."""
    path = sorted((out / "epochs").glob("*.safetensors"))[-1]
    state, _ = load_state(path)
    return torch.cat([tensor.double().flatten() for _, tensor in sorted(state.items())])
