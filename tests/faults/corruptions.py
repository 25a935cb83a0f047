"""Damage a finished run, file by file, and see what the next run does with it.

Each fault gets a copy of one small finished run. One file is damaged, its times stay, and what was made from it is
removed, so that a job reads it again. Two ends are right: the file is made anew, or the run fails with one sentence
whose command, run as it stands, repairs it. Either way the next run ends with the results of the undisturbed one, byte
for byte.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.recovery import End, Run, outputs_from, recovered, remove


@dataclass(frozen=True)
class Kind:
    """A kind of file that a later job reads.

    Attributes:
        name: what it is.
        files: a pattern below the results.
        reader: the first rule that reads it; outputs of it and of later rules are removed, so that they run again.
        again: patterns of what is removed beside, so that the reader finds nothing to take over.
    """

    name: str
    files: str
    reader: str
    again: tuple[str, ...] = ()

    def removed(self) -> list[str]:
        """Return patterns of everything that is removed, so that the file is read again."""
        return [*outputs_from(self.reader), *self.again]


KINDS = (
    Kind("index of studies", "index/[0-9].csv", "collect_quarantine"),
    Kind("quarantine", "index/quarantine.csv", "make_folds", ("state/folds",)),
    Kind("state of folds", "state/folds/*.json", "make_folds"),
    Kind("manifest of half-size volumes", "volumes_half/*.json", "infer_masks"),
    Kind("record of a half-size volume", "volumes_half/*/*.json", "infer_masks"),
    Kind("half-size volume", "volumes_half/*/*.npy", "infer_masks", ("masks/*/*",)),
    Kind("manifest of labels", "labels_half/*.json", "train_segmentation", ("state/segmentation",)),
    Kind("record of a label map", "labels_half/*/*.json", "train_segmentation", ("state/segmentation",)),
    Kind("label map", "labels_half/*/*.npy", "train_segmentation", ("state/segmentation",)),
    Kind("folds of the segmentation", "folds/segmentation.csv", "infer_masks"),
    Kind("record of folds", "folds/*.record.json", "infer_masks"),
    Kind("folds of the classifiers", "folds/classification.csv", "predict_oof"),
    Kind("segmentation network", "segmentation/*/model.safetensors", "infer_masks"),
    Kind("record of a segmentation network", "segmentation/*/model.safetensors.record.json", "infer_masks"),
    Kind("segmentation metrics", "segmentation/*/metrics.json", "evaluate"),
    Kind("history", "segmentation/*/history.csv", "report"),
    Kind("history of a classifier", "classification/*/*/history.csv", "report"),
    Kind("manifest of volumes", "volumes/*.json", "make_crops"),
    Kind("record of a volume", "volumes/*/*[0-9].json", "make_crops", ("crops/*/*",)),
    Kind("volume", "volumes/*/*.npy", "make_crops", ("crops/*/*",)),
    Kind("manifest of masks", "masks/*.json", "make_crops"),
    Kind("record of a mask", "masks/*/*.json", "make_crops"),
    Kind("mask", "masks/*/*.npy", "make_crops", ("crops/*/*",)),
    Kind("manifest of crops", "crops/*.json", "predict_oof"),
    Kind("record of a crop", "crops/*/*.json", "predict_oof", ("classification/*/*/oof",)),
    Kind("crop", "crops/*/*.npy", "predict_oof", ("classification/*/*/oof",)),
    Kind("list of epochs", "classification/*/*/epochs/epochs.json", "average_checkpoints"),
    Kind("weights of an epoch", "classification/*/*/epochs/*.safetensors", "average_checkpoints"),
    Kind("judgement of an average", "classification/*/*/averaging/*.json", "average_checkpoints"),
    Kind("averaging", "classification/*/*/averaging.json", "evaluate"),
    Kind("classifier", "classification/*/*/model.safetensors", "predict_oof"),
    Kind("classifier in the bundle", "classification/*/*/model.safetensors", "export_bundle"),
    Kind("record of a classifier", "classification/*/*/model.safetensors.record.json", "predict_oof"),
    Kind("out-of-fold table", "classification/*/*/oof.csv", "evaluate"),
    Kind("record of an out-of-fold table", "classification/*/*/oof.csv.record.json", "evaluate"),
    Kind("out-of-fold record of a study", "classification/*/*/oof/*.json", "predict_oof"),
    Kind("metrics", "evaluation/metrics.json", "export_bundle"),
    Kind("finished training", "state/classification/*/*/*/result/*[!n].*", "train_classifier"),
    Kind("weights of a finished epoch", "state/classification/*/*/*/result/epochs/*", "train_classifier"),
    Kind("finished segmentation training", "state/segmentation/*/*/result/*[!n].*", "train_segmentation"),
    Kind("description of a bundle", "bundle/bundle.json", "predict_studies", ("predictions/[0-9]",)),
    Kind("weights of a bundle", "bundle/*.safetensors", "predict_studies", ("predictions/[0-9]",)),
    Kind("list of new files", "predictions/index/*.csv", "predict_studies", ("predictions/[0-9]",)),
    Kind("record of new files", "predictions/index/*.record.json", "predict_studies", ("predictions/[0-9]",)),
    Kind("manifest of predictions", "predictions/[0-9].json", "predict"),
    Kind("record of a prediction", "predictions/[0-9]/*[0-9].json", "predict"),
    Kind("predicted mask", "predictions/[0-9]/*.nii.gz", "predict"),
    Kind("picture of a prediction", "predictions/[0-9]/*.png", "predict"),
    Kind("images of a study's page", "predictions/[0-9]/*_view.json", "predict"),
    Kind("inventory of a shard", "predictions/[0-9]/inventory.csv", "predict"),
)


def _flip(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def _cut_at_a_line(content: bytearray, draw: random.Random) -> None:
    ends = [place.end() for place in re.finditer(rb"\n", content)][:-1]
    del content[draw.choice(ends or [0]) :]


def _zeros(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    content[start : start + 64] = bytes(len(content[start : start + 64]))


def _value(content: bytearray, draw: random.Random) -> None:
    digits = [place.start() for place in re.finditer(rb"\d", content)]
    place = draw.choice(digits or [0])
    content[place] = draw.choice([digit for digit in b"123456789" if digit != content[place]])


DAMAGES: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flip": _flip,
    "cut": _cut,
    "cut at a line": _cut_at_a_line,
    "zeros": _zeros,
    "value": _value,
}


@dataclass(frozen=True)
class Fault:
    """What is damaged, and how."""

    kind: Kind
    damage: str
    seed: int


def faults(number: int, seed: int) -> Iterator[Fault]:
    """Yield ``number`` faults: every kind of file in turn, with damages that fit it."""
    draw = random.Random(seed)
    for index in range(number):
        kind = KINDS[index % len(KINDS)]
        text = kind.files.endswith((".json", ".csv"))
        yield Fault(kind, draw.choice(list(DAMAGES) if text else ["flip", "cut", "zeros"]), draw.randrange(2**31))


def damage(results: Path, fault: Fault) -> Path:
    """Damage one file of the fault's kind, keep its times, remove what was made from it, and return it."""
    draw = random.Random(fault.seed)
    path = draw.choice(sorted(path for path in results.glob(fault.kind.files) if path.is_file()))
    before, times = path.read_bytes(), path.stat()
    content = bytearray(before)
    while bytes(content) == before:
        DAMAGES[fault.damage](content, draw)
    for pattern in fault.kind.removed():
        remove(results, pattern)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return path


def end_of(results: Path, undisturbed: dict[str, bytes], fault: Fault, run: Run) -> End:
    """Damage, run, follow the advice, run again, and compare.

    Args:
        results: the output folder of a copy of the finished run; its logs are removed.
        undisturbed: ``contents`` of the finished run.
        fault: what to damage.
        run: runs Snakemake on the copy with these arguments.
    """
    path = damage(results, fault)
    return recovered(results, undisturbed, run, path.relative_to(results).as_posix())
