"""Predict in the container and outside of it, and compare: `make test-all`.

    python -m tools.try_container [IMAGE]

The tiny workflow runs outside, and its bundle predicts its test studies twice: outside, and in the image as the user
65534, with a read-only root and without network. Both must write the same bytes into predictions.csv. Without podman,
or without the image (`make container`), nothing is tried, and a sentence says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.tiny import TINY

IMAGE = "spine_models"
USER = "65534:65534"
PREDICT = ("predict", "--bundle", "tiny/bundle", "--studies", "tiny/phantom/test_images", "--device", "cpu", "--out")
SHOW = f"id -u && spine-models {' '.join(PREDICT)} /out/new >&2 && cat /out/new/predictions.csv"
"""Who predicts, then the table. What it writes comes out by the pipe: a rootless podman maps 65534 to a user who could
write into no folder of the caller's."""


def inside(folder: Path) -> list[str]:
    """Return how podman is called before the name of the image: nobody can be reached, and nothing kept be written.

    Args:
        folder: with what is read; seen in the container as ``/data``.
    """
    folders = [f"--volume={folder}:/data:ro", "--workdir=/data", "--tmpfs=/tmp", "--tmpfs=/out:mode=1777"]
    return ["podman", "run", "--rm", f"--user={USER}", "--read-only", "--network=none", *folders]


def why_not(image: str) -> str | None:
    """Return why the container cannot be tried here, None if it can."""
    if shutil.which("podman") is None:
        return "podman is not installed"
    found = subprocess.run(["podman", "image", "exists", image], check=False, capture_output=True)
    return f"there is no image {image}: `make container` builds it" if found.returncode else None


def try_container(image: str) -> None:
    """Compare a prediction in ``image`` with one outside; what differs or fails ends the process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = [sys.executable, "-m", "spine_models"]
        workflow = [*program, "workflow", "--", "--cores", "2", "--quiet", "all", "--configfile", str(TINY)]
        _run([*workflow, "--config", "output_dir=tiny"], folder)
        _run([*program, *PREDICT, "outside"], folder)
        # The folder of a run is its owner's; the container's user is another.
        _run(["chmod", "--recursive", "a+rX", "."], folder)
        user, _, there = _run([*inside(folder), "--entrypoint=sh", image, "-c", SHOW], folder).partition("\n")
        here = (folder / "outside" / "predictions.csv").read_text(encoding="utf-8")
        if here != there:
            raise SystemExit(f"error: the container predicted otherwise:\n{here}\n{there}")
        print(f"{image}: predictions.csv is byte for byte the one from outside, written by the user {user}", flush=True)


def _run(command: list[str], folder: Path) -> str:
    # The library comes from the environment, and not from the checkout.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=kept, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
        raise SystemExit(f"error: it ended with status {done.returncode}: {' '.join(command)}")
    return done.stdout


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else IMAGE
    reason = why_not(chosen)
    if reason:
        print(f"the container is not tried: {reason}")
    else:
        try_container(chosen)
