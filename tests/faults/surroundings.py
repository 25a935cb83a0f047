"""What happens around the jobs: a disk that is too small, a second Snakemake, files that change, a clock set back."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.recovery import FOUND_AGAIN, OUTPUTS, End, Run, outputs_from, recovered, remove, sentences, strays

Start = Callable[..., "subprocess.Popen[str]"]

KINDS = ("disk too small", "two Snakemakes at once", "two directories at once", "a file changes", "clock set back")
_DISK = KINDS[0]
_READ = {
    "index_studies": "train_images/*/*",
    "convert_volumes": "train_images/*/*",
    "convert_labels": "segmentations/*",
    "collect_quarantine": "train.csv",
    "make_folds": "train.csv",
    "average_checkpoints": "train.csv",
    "index_predictions": "new/*/*",
    "predict_studies": "new/*/*",
}
"""Rules that read files of the user's, and which."""
_AHEAD_S = 86_400.0


@dataclass(frozen=True)
class Surrounding:
    """What happens while the jobs of a rule and of later ones run.

    Attributes:
        kind: one of ``KINDS``.
        rule: the first that has to run.
        amount: KiB that the disk has to spare, or seconds after which it happens.
    """

    kind: str
    rule: str
    amount: float


def surroundings(number: int, seed: int) -> Iterator[Surrounding]:
    """Yield ``number`` faults, every kind in turn; a small disk only where this user may mount one."""
    draw = random.Random(seed)
    kinds = [kind for kind in KINDS if kind != _DISK or can_mount()]
    rules = list(OUTPUTS)
    for index in range(number):
        kind = kinds[index % len(kinds)]
        rule = draw.choice(list(_READ) if kind == "a file changes" else rules)
        yield Surrounding(kind, rule, draw.choice((16, 64, 256)) if kind == _DISK else draw.uniform(0.3, 3.0))


def can_mount() -> bool:
    """Say whether this user may mount a file system in memory."""
    folder = Path(tempfile.mkdtemp(prefix="mount-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        subprocess.run(["umount", folder], check=True)
    folder.rmdir()
    return mounted.returncode == 0


def end_of(results: Path, undisturbed: dict[str, bytes], fault: Surrounding, run: Run, start: Start) -> End:
    """Remove what a rule and later ones made, run while it happens, then without it, and compare.

    Args:
        results: the output folder of a copy of the finished run.
        undisturbed: ``contents`` of the finished run.
        fault: what happens.
        run: runs Snakemake on the copy, with arguments and variables of the environment.
        start: starts it in a process group of its own, with arguments.
    """
    for pattern in [*outputs_from(fault.rule), *FOUND_AGAIN.get(fault.rule, ())]:
        remove(results, pattern)
    shutil.rmtree(results / "logs", ignore_errors=True)
    if fault.kind == _DISK:
        with _small_disk(results, int(fault.amount)) as make_room:
            return _after(run(), results, undisturbed, fault, run, make_room)
    if fault.kind == "a file changes":
        return _after(_while_a_file_changes(results, fault, start), results, undisturbed, fault, run)
    if fault.kind == "clock set back":
        # As after a clock that was a day ahead: everything there seems to be made later than what is made now.
        _shift_times(results, _AHEAD_S)
        return _after(run(), results, undisturbed, fault, run, lambda: _shift_times(results, -_AHEAD_S))
    first = start("--nolock")
    time.sleep(fault.amount)
    beside = ("--directory", _second_directory(results)) if fault.kind == "two directories at once" else ()
    process = run("--nolock", *beside)
    first.wait(timeout=600)
    return _after(process, results, undisturbed, fault, run)


def _after(
    process: subprocess.CompletedProcess[str],
    results: Path,
    undisturbed: dict[str, bytes],
    fault: Surrounding,
    run: Run,
    mend: Callable[[], None] = lambda: None,
) -> End:
    # Of clocks that differ Snakemake itself tells, in its own words.
    told = sentences(results, process) or re.findall(r"^Output .* has older modification time .*", process.stderr, re.M)
    logs = "".join(path.read_text(errors="replace") for path in (results / "logs").rglob("*.log"))
    if "Traceback (most recent call last)" in process.stdout + process.stderr + logs:
        return End("a trace", False, told[0] if told else "", fault.rule)
    if process.returncode and not told:
        return End("failed without a sentence", False, "", fault.rule)
    mend()
    end = recovered(results, undisturbed, run, fault.rule)
    how = "one sentence" if process.returncode else "complete"
    end = dataclasses.replace(end, how=f"{how}; then complete") if end.right else end
    left = strays(results)
    return End("stray temporary files", False, left[0], fault.rule) if left and end.right else end


@contextmanager
def _small_disk(results: Path, spare_kib: int) -> Iterator[Callable[[], None]]:
    """Put the results on a disk of their own that has ``spare_kib`` left; yields what makes room there."""
    kept = results.with_name("kept")
    results.rename(kept)
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "none", results], check=True)

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", results], check=True)

    try:
        shutil.copytree(kept, results, symlinks=True, dirs_exist_ok=True)
        disk = os.statvfs(results)
        resize((disk.f_blocks - disk.f_bfree) * disk.f_frsize + spare_kib * 1024)
        yield lambda: resize(1 << 30)
    finally:
        subprocess.run(["umount", "--lazy", results], check=True)


def _shift_times(results: Path, seconds: float) -> None:
    """Move the times of everything that was made before now (of a day ahead: of everything that seems to be)."""
    for path in results.rglob("*"):
        there = path.stat()
        if (there.st_mtime > time.time()) == (seconds < 0):
            os.utime(path, (there.st_atime, there.st_mtime + seconds))


def _second_directory(results: Path) -> Path:
    """Return another working directory with the same data, configuration and results."""
    other = results.parent.with_name("other")
    other.mkdir()
    for path in results.parent.iterdir():
        if path.name != ".snakemake":
            (other / path.name).symlink_to(path)
    return other


def _while_a_file_changes(results: Path, fault: Surrounding, start: Start) -> subprocess.CompletedProcess[str]:
    """Cut one file in half in the middle of the work, and bring it back as it was."""
    files = sorted(results.parent.rglob(_READ[fault.rule]))
    file = files[len(files) // 2]
    data, there = file.read_bytes(), file.stat()
    process = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(fault.amount)
    file.write_bytes(data[: len(data) // 2])
    time.sleep(0.5)
    file.write_bytes(data)
    os.utime(file, ns=(there.st_atime_ns, there.st_mtime_ns))
    out, error = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)
