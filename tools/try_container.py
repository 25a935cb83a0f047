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


def inside(folder: Path, out: Path) -> list[str]:
    """Return how podman is called before the name of the image: nothing but ``out`` can be written, nobody be reached.

    Args:
        folder: with what is read; seen in the container as ``/data``.
        out: writable for ``USER``; seen as ``/out``.
    """
    mounts = [f"--volume={folder}:/data:ro", f"--volume={out}:/out", "--workdir=/data"]
    return ["podman", "run", "--rm", f"--user={USER}", "--read-only", "--tmpfs=/tmp", "--network=none", *mounts]


def why_not(image: str) -> str | None:
    """Return why the container cannot be tried here, None if it can."""
    if shutil.which("podman") is None:
        return "podman is not installed"
    found = subprocess.run(["podman", "image", "exists", image], check=False, capture_output=True)
    return f"there is no image {image}: `make container` builds it" if found.returncode else None


def try_container(image: str) -> None:
    """Compare a prediction in ``image`` with one outside; what differs or fails ends the process."""
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "run", Path(name) / "out"
        folder.mkdir()
        out.mkdir(mode=0o777)
        for path in (Path(name), folder, out):
            path.chmod(0o777)
        program = [sys.executable, "-m", "spine_models"]
        workflow = [*program, "workflow", "--", "--cores", "2", "--quiet", "all", "--configfile", str(TINY)]
        _run([*workflow, "--config", "output_dir=tiny"], folder)
        _run([*program, *PREDICT, "outside"], folder)
        # The folder of a run is its owner's; the container's user is another.
        _run(["chmod", "--recursive", "a+rX", "."], folder)
        _run([*inside(folder, out), image, *PREDICT, "/out/new"], folder)
        here, there = (path / "predictions.csv" for path in (folder / "outside", out / "new"))
        if here.read_bytes() != there.read_bytes():
            raise SystemExit(f"error: the container predicted otherwise:\n{here.read_text()}\n{there.read_text()}")
        owner = there.stat().st_uid
        print(
            f"{image}: predictions.csv is byte for byte the one from outside, written by the user {owner}", flush=True
        )


def _run(command: list[str], folder: Path) -> None:
    # The library comes from the environment, and not from the checkout.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=kept, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
        raise SystemExit(f"error: it ended with status {done.returncode}: {' '.join(command)}")


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else IMAGE
    reason = why_not(chosen)
    if reason:
        print(f"the container is not tried: {reason}")
    else:
        try_container(chosen)
