"""Commands where there is no network, with every connection that they try written down."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_CONNECT = re.compile(r"connect\(\d+, \{sa_family=(?P<family>\w+)(?P<rest>[^}]*)")
_LOOPBACK = re.compile(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"')
_SLURM = re.compile(r'execve\("[^"]*/s(control|acct|queue|info)", .* = 0')
"""Snakemake's plugin asks Slurm's own client, where it is installed, for its configuration."""


def run_watched(arguments: Sequence[object], folder: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command of this Python without network; return it, and the calls that tried to leave this machine.

    Skips the test where a user may not make a network of his own, or trace processes.
    """
    traces = folder / "traces"
    traces.mkdir()
    watch = ["unshare", "--map-root-user", "--net"]
    watch += ["strace", "-f", "-ff", "-qq", "-e", "trace=connect,execve", "-o", str(traces / "of")]
    if not all(map(shutil.which, ("unshare", "strace"))):
        pytest.skip("unshare and strace show what is tried, and they are not installed")
    if subprocess.run([*watch, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user make a network of his own, or trace processes")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*watch, sys.executable, *map(str, arguments)]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    texts = [path.read_text(errors="replace") for path in traces.iterdir()]
    calls = [call for text in texts if not _SLURM.search(text) for call in _CONNECT.finditer(text)]
    return process, [c[0] for c in calls if c["family"] != "AF_UNIX" and not _LOOPBACK.search(c["rest"])]
