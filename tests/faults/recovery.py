"""What a run must come to after a fault: the undisturbed results, by the sentences' own advice."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]

OUTPUTS: dict[str, tuple[str, ...]] = {
    "index_studies": ("index/[0-9]*",),
    "convert_volumes": ("volumes/*.json", "volumes_half/*.json"),
    "convert_labels": ("labels_half/*.json",),
    "collect_quarantine": ("index/quarantine*",),
    "make_folds": ("folds",),
    "train_segmentation": ("segmentation/*/*",),
    "infer_masks": ("masks/*.json",),
    "make_crops": ("crops/*.json",),
    "train_classifier": ("classification/*/*/epochs", "classification/*/*/history*"),
    "average_checkpoints": ("classification/*/*/averaging.json*", "classification/*/*/model.*"),
    "predict_oof": ("classification/*/*/oof.csv*",),
    "evaluate": ("evaluation",),
    "export_bundle": ("bundle",),
    "index_predictions": ("predictions/index",),
    "predict_studies": ("predictions/[0-9].json",),
    "predict": ("predictions/*.csv", "predictions/index.html", "predictions/studies"),
    "report": ("report",),
}
"""Rules in the order of the workflow, and the outputs without which each runs again."""

FOUND_AGAIN: dict[str, tuple[str, ...]] = {
    "convert_volumes": ("volumes/*", "volumes_half/*"),
    "convert_labels": ("labels_half/*",),
    "make_folds": ("state/folds",),
    "train_segmentation": ("state/segmentation",),
    "infer_masks": ("masks/*",),
    "make_crops": ("crops/*",),
    "train_classifier": ("state/classification",),
    "average_checkpoints": ("classification/*/*/averag*",),
    "predict_oof": ("classification/*/*/oof",),
    "predict_studies": ("predictions/[0-9]",),
}
"""What a job would take over in place of working."""


@dataclass(frozen=True)
class End:
    """What became of a fault.

    Attributes:
        how: "made anew", "repaired as the sentence says", or what is wrong.
        right: nothing is lost and nothing differs.
        said: the sentence, where there was one.
        path: the file, below the results.
    """

    how: str
    right: bool
    said: str
    path: str


def outputs_from(rule: str) -> list[str]:
    """Return patterns of the outputs of a rule and of all later ones."""
    rules = list(OUTPUTS)
    return [pattern for name in rules[rules.index(rule) :] for pattern in OUTPUTS[name]]


def remove(results: Path, pattern: str) -> None:
    for made in results.glob(pattern):
        shutil.rmtree(made) if made.is_dir() else made.unlink()


def recovered(results: Path, undisturbed: dict[str, bytes], run: Run, name: str) -> End:
    """Run until the workflow succeeds, each time after what its sentences advise, and compare the results."""
    said = ""
    for _ in range(4):
        shutil.rmtree(results / "logs", ignore_errors=True)
        process = run()
        if "Traceback (most recent call last)" in process.stdout + process.stderr:
            return End("a trace", False, said, name)
        if process.returncode == 0:
            different = [
                name for name in differences(undisturbed, contents(results)) if not _is_besides(name, undisturbed)
            ]
            if different:
                return End(f"status 0, but {', '.join(different[:3])} differ", False, said, name)
            return End("repaired as the sentence says" if said else "made anew", True, said, name)
        told = sentences(results, process)
        if not told:
            return End("failed without a sentence", False, said, name)
        said = said or told[0]
        advised = [line for sentence in told for line in re.findall(r"`((?:snakemake|rm) [^`]*)`", sentence)]
        if not advised:
            return End("a sentence without a command", False, said, name)
        for line in dict.fromkeys(advised):
            program, *arguments = shlex.split(line)
            if program == "rm":
                (results.parent / arguments[0]).unlink()
            else:
                run(*arguments)
    return End("the advice does not help", False, said, name)


def _is_besides(name: str, undisturbed: dict[str, bytes]) -> bool:
    """Say whether a file is a judgement of an average on other studies, as where one was left out for a while."""
    return "/averaging/" in name and name not in undisturbed


def sentences(results: Path, process: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the errors that a failed run told people: those of the jobs, or of Snakemake's own process."""
    logs = "\n".join(path.read_text(errors="replace") for path in (results / "logs").rglob("*.log"))
    told = re.findall(r"^error: (.*)$", logs, re.MULTILINE)
    return told or re.findall(r"^error: (.*)$", process.stdout + process.stderr, re.MULTILINE)


def contents(results: Path) -> dict[str, bytes]:
    """Return what equal runs share byte for byte: not logs, locks, states, nor what tells of only one run."""
    apart = {"logs", "benchmarks", "state", "report"}
    names = (".run.json", ".lock", ".snakemake_timestamp", ".source.json")
    files = (path for path in results.rglob("*") if path.is_file() and not path.name.endswith(names))
    found = {path.relative_to(results).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in found.items() if name.split("/")[0] not in apart}


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the names of the files that two runs do not share byte for byte."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def strays(results: Path) -> list[str]:
    """Return the names of temporary files that a run left."""
    return [path.name for path in results.rglob("*") if path.name.startswith((".tmp", "tmp")) or ".tmp" in path.name]
