"""The frame of the workflow's scripts: what they say before they start, and how they end."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from spine_models.errors import run_command
from spine_models.log import say


def run_stage(main: Callable[[], None]) -> None:
    """Say in the rule's log what starts where, then run the ``main`` of its script.

    Snakemake shows the logs of a failed job one after the other and stops at the first empty one: without this line
    the scheduler's log of a job that was killed before it said anything would not be shown.
    """
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    say(f"{Path(sys.argv[0]).stem} starts on {platform.node()}, process {os.getpid()}, {now}")
    run_command(main)
