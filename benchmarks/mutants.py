"""Change the method's arithmetic in small ways and count which changes the tests beside a module catch.

``make mutants`` takes every module in turn, ``make mutants MODULE=windows`` one; docs/mutants.md has the scores and why
each survivor is harmless. The tool is mutmut, which changes one operator, number or argument at a time and runs the
tests that reach it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from spine_models.errors import UserError, run_command
from spine_models.log import say, show

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build/mutants"
MUTMUT = WORK / "tool"
WANTED = 0.9

MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "targets": ("data/samples/targets", ("data/samples/test_targets.py",)),
    "windows": ("data/crops/windows", ("data/crops/test_windows.py",)),
    "boxes": ("data/crops/boxes", ("data/crops/test_boxes.py",)),
    "components": ("data/crops/components", ("data/crops/test_components.py",)),
    "crops": ("data/crops/crop", ("data/crops/test_crop.py",)),
    "samples": ("data/samples/classification", ("data/samples/test_classification.py",)),
    "segmentation_samples": ("data/samples/segmentation", ("data/samples/test_segmentation.py",)),
    "sampling": ("data/samples/sampling", ("data/samples/test_sampling.py",)),
    "augmentation": ("data/samples/augmentation", ("data/samples/test_augmentation.py",)),
    "plane_map": ("data/samples/plane_map", ("data/samples/test_resampling.py",)),
    "resampling": ("data/samples/resampling", ("data/samples/test_resampling.py",)),
    "loss": ("models/losses", ("models/test_losses.py",)),
    "averaging": ("models/averaging", ("models/test_averaging.py",)),
    "optimizer": ("training/optimizer", ("training/test_optimizer.py",)),
    "batch_norm": ("models/batch_norm", ("models/test_batch_norm.py",)),
    "sliding_window": ("models/sliding_window", ("models/test_sliding_window.py",)),
    "unet": ("models/unet", ("models/test_unet.py",)),
    "csn": ("models/csn", ("models/test_csn.py",)),
    "competition": ("evaluation/competition", ("evaluation/test_competition.py",)),
    "scores": ("evaluation/scores", ("evaluation/test_scores.py",)),
    "dice": ("evaluation/dice", ("evaluation/test_dice.py",)),
    "geometry": ("data/dicom/geometry", ("data/dicom/test_geometry.py",)),
    "pixels": ("data/dicom/pixels", ("data/dicom/test_pixels.py",)),
    "half": ("data/dicom/half", ("data/dicom/test_half.py",)),
    "flips": ("compute/flips", ("compute/test_flips.py",)),
    "folds": ("data/dataset/folds", ("data/dataset/test_folds.py",)),
}
"""Name of a module: its file in the package, and the tests beside it."""

_FAILED = {1, 3, 37}
"""Exit codes of mutmut's workers for a failed test."""
_OUT_OF_TIME = {-24, 24, 36, 152, 255}
"""Exit codes for tests that ran out of time."""
_PATIENCE_S = 60
"""Added to the time that the tests take without a change, before it is tripled: a mutant that loops for ever ends after
some minutes, and one that only waits for a busy processor is not taken for caught."""
_SHOW = "[print(get_diff_for_mutant(name), end='\\n\\n') for name in sys.argv[1:]]"
"""Of all survivors in one process: ``mutmut show`` takes one, and seconds to start."""
_COPIED = ("tests", "benchmarks", "pyproject.toml", "workflow_scripts", "config.yaml", "presets", "rules", "Snakefile")


@dataclass(frozen=True)
class Score:
    """What became of a module's mutants.

    Attributes:
        caught: how many a test caught.
        out_of_time: how many of them by running for ever.
        survivors: names of the others.
        minutes: that the module took, its tests without a change included.
    """

    caught: int
    out_of_time: int
    survivors: list[str]
    minutes: float

    @property
    def total(self) -> int:
        return self.caught + len(self.survivors)

    @property
    def is_enough(self) -> bool:
        return self.caught >= WANTED * self.total

    def __str__(self) -> str:
        endless = f", {self.out_of_time} of them by running out of time" if self.out_of_time else ""
        share = self.caught / self.total
        return f"{self.caught} of {self.total} mutants caught ({share:.1%}){endless}, {self.minutes:.1f} minutes"


def main() -> None:
    """Test the modules that were asked for; fail where too few of the mutants were caught."""
    parser = argparse.ArgumentParser(prog="benchmarks.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"some of {', '.join(MODULES)}; all where there is none")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.modules) - set(MODULES))
    if unknown:
        raise UserError(f"{unknown[0]} is not a module with mutants: choose from {', '.join(MODULES)}")
    names = arguments.modules or list(MODULES)
    scores: dict[str, Score] = {}
    for name in names:
        scores[name] = test_module(name, arguments.processes)
        say(f"{name}: {scores[name]}")
    for name, score in scores.items():
        show(f"{name}: {score}")
    caught, total = (sum(getattr(score, what) for score in scores.values()) for what in ("caught", "total"))
    minutes = sum(score.minutes for score in scores.values())
    show(f"all: {caught} of {total}, {caught / total:.1%}, {minutes:.0f} minutes")
    below = [name for name, score in scores.items() if not score.is_enough]
    if below:
        raise UserError(
            f"fewer than {WANTED:.0%} of the mutants of {', '.join(below)} were caught: add tests beside them"
        )


def test_module(name: str, processes: int) -> Score:
    """Make a module's mutants in a folder of its own, test them, and print the change of every survivor."""
    module, tests = MODULES[name]
    folder, begin = WORK / name, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for item in _COPIED:
        (folder / item).symlink_to(ROOT / item)
    shutil.copytree(ROOT / "spine_models", folder / "spine_models")
    lines = {
        "source_paths": "spine_models",
        "only_mutate": f"spine_models/{module}.py",
        "also_copy": "\n  ".join(("", *_COPIED)),
        "pytest_add_cli_args_test_selection": "\n  ".join(("", *(f"tests/{test}" for test in tests))),
        "process_isolation": "forkserver",
        "timeout_constant": str(_PATIENCE_S),
        "timeout_multiplier": "3",
        "use_git_change_detection": "false",
    }
    (folder / "setup.cfg").write_text("[mutmut]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))
    _mutmut(folder, "cli()", "run", "--max-children", str(processes))
    verdicts = json.loads((folder / f"mutants/spine_models/{module}.py.meta").read_text())["exit_code_by_key"]
    survivors = sorted(mutant for mutant, code in verdicts.items() if code not in _FAILED | _OUT_OF_TIME)
    out_of_time = sum(code in _OUT_OF_TIME for code in verdicts.values())
    if survivors:
        sys.stdout.write(_mutmut(folder, _SHOW, *survivors) + "\n")
    return Score(len(verdicts) - len(survivors), out_of_time, survivors, (time.monotonic() - begin) / 60)


def _mutmut(folder: Path, code: str, *arguments: str) -> str:
    """Run ``code`` with the tool and return what it printed; while it runs, ``log`` in the folder has it."""
    variables = {"PYTHONPATH": str(MUTMUT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"from mutmut.__main__ import *; {code}", *arguments]
    log = folder / "log"
    with log.open("w") as stream:
        result = subprocess.run(
            command, cwd=folder, env=os.environ | variables, stdout=stream, stderr=subprocess.STDOUT, check=False
        )
    if result.returncode:
        raise UserError(f"mutmut failed: see {log}")
    return log.read_text(encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
